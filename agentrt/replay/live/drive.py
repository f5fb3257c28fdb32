"""A list of programs driven against a live engine in real time."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence

import anyio

from agentrt.replay.live.arrived import Arrived, wire_id
from agentrt.replay.live.backlog import backlog
from agentrt.replay.live.engine import LiveEngine
from agentrt.replay.live.hinting import Hinting
from agentrt.replay.live.reuse import Reuse
from agentrt.replay.live.run import LiveRun, RunSettings
from agentrt.replay.live.tally import Tally
from agentrt.replay.live.tokens import TokenSource
from agentrt.replay.live.wire import RequestFailed, TurnRequest
from agentrt.replay.program_list import ProgramList
from agentrt_engine.outcome import ProgramOutcome, RunOutcome
from agentrt_engine.simulated.clock import seconds
from agentrt_engine.simulated.workload import ProgramPlan

#: Prompts are made this long before they are due, so that making them delays nothing.
_AHEAD_S = 0.1


async def replay_live(
    plans: Sequence[ProgramPlan],
    engine: LiveEngine,
    programs: ProgramList,
    settings: RunSettings = RunSettings(),  # noqa: B008 - frozen
    *,
    on_progress: Callable[[int], None] = lambda _ended: None,
) -> LiveRun:
    """Run programs to their end, on time whatever the engine does.

    A program arrives at its time in the list, or when another ends; its next turn is asked for
    when its pause is over, counted from the end of the turn before. All times are of the event
    loop's clock. A program whose request fails ends there, and so does one that waits for it.

    Args:
        plans: of the workload; plans made with `page=1` share exactly what the trace says.
        programs: indices into the plans, with arrivals unless `concurrency` is set.
        on_progress: called at the end of each turn with the number of programs that have ended,
            children not counted.
    """
    if (programs.arrival_s is None) == (settings.concurrency is None):
        raise ValueError("expected either arrivals in the list or a concurrency")
    outcome = RunOutcome(engine.facts.name, programs.seed, [], engine.facts.kv_tokens)
    result = LiveRun(outcome, settings.repeat)
    tally = Tally(result, record=settings.record, outputs=settings.outputs)
    content = f"{programs.seed}/{settings.repeat}/{settings.concurrency}"
    tokens = TokenSource(plans, content, engine.ids)
    chosen = [plans[index] for index in programs.programs]
    # Hints have a group of their own: they end, but no program waits for them.
    async with anyio.create_task_group() as group:
        hinting = Hinting(engine, settings.hints, group, result)
        driver = _Driver(engine, tokens, tally, hinting, on_progress)
        if programs.arrival_s is None:
            await driver.closed(chosen, settings.concurrency or 1)
        else:
            await driver.arriving(chosen, programs.arrival_s)
            outcome.backlog = backlog(outcome.jobs)
        took_s = driver.now()
    return tally.finish(took_s)


class _Driver:
    """One run; times are seconds since its start."""

    def __init__(
        self,
        engine: LiveEngine,
        tokens: TokenSource,
        tally: Tally,
        hinting: Hinting,
        on_progress: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._tokens = tokens
        self._tally = tally
        self._hinting = hinting
        self._on_progress = on_progress
        self._reuse = Reuse()
        self._copies: Counter[str] = Counter()
        self._run = secrets.token_hex(4)
        self._ended = 0
        self._start_s = anyio.current_time()

    def now(self) -> float:
        """Seconds since the start."""
        return anyio.current_time() - self._start_s

    async def arriving(self, plans: Sequence[ProgramPlan], arrival_s: Sequence[float]) -> None:
        """Each program at its time."""
        async with anyio.create_task_group() as group:
            for plan, at in zip(plans, arrival_s, strict=True):
                group.start_soon(self._job, plan, at)

    async def closed(self, plans: Sequence[ProgramPlan], concurrency: int) -> None:
        """So many at once, the next one when one ends."""
        waiting = iter(plans)

        async def one_after_the_other() -> None:
            for plan in waiting:
                await self._job(plan, self.now())

        async with anyio.create_task_group() as group:
            for _ in range(min(concurrency, len(plans))):
                group.start_soon(one_after_the_other)

    async def _job(self, plan: ProgramPlan, due: float) -> None:
        await self._until(due - _AHEAD_S)
        await self._program(plan, due, None)
        self._ended += 1
        self._on_progress(self._ended)

    async def _until(self, at: float) -> None:
        await anyio.sleep_until(self._start_s + at)

    async def _program(self, plan: ProgramPlan, due: float, parent: Arrived | None) -> bool:
        """A program from its arrival to its end; returns whether it got there."""
        program = self._arrived(plan, due, parent)
        number = 0
        try:
            for number in range(len(plan.turns)):
                end = await self._turn(program, number, due)
                if number < len(plan.turns) - 1:
                    due = await self._pause(program, number, end)
                else:
                    program.outcome.end_s = end
        except RequestFailed as error:
            self._tally.failed(program, number, str(error))
            self._hinting.failed(program)
        return program.outcome.end_s is not None

    def _arrived(self, plan: ProgramPlan, due: float, parent: Arrived | None) -> Arrived:
        self._copies[plan.program_id] += 1
        copy = self._copies[plan.program_id]
        name = plan.program_id if copy == 1 else f"{plan.program_id}~{copy}"
        index = len(self._tally.result.outcome.programs)
        outcome = ProgramOutcome(name, plan.agent, due, parent_id=parent.name if parent else None)
        program = Arrived(plan, index, wire_id(name, index, self._run), outcome, parent)
        self._tally.arrived(program)
        return program

    async def _turn(self, program: Arrived, number: int, due: float) -> float:
        """One turn at its time; returns when it ended.

        Raises:
            RequestFailed: the engine did not do it.
        """
        turn = program.plan.turns[number]
        key = f"{program.name} {number}"
        prompt = self._tokens.prompt(turn, program.context, key)
        await self._until(due)
        if number:
            self._hinting.tool_finished(program, program.plan.turns[number - 1].tool)
        possible, reusable = self._reuse.sends(turn), 0

        def prefilled() -> None:
            nonlocal reusable
            reusable = self._reuse.prefilled(turn)

        self._tally.sent(self.now() - due)
        timed = await self._engine.turn(
            TurnRequest(
                prompt, turn.output_tokens, program.tag(number), f"{program.wire_id}.{number}"
            ),
            on_first_token=prefilled,
        )
        first, end = timed.first_s - self._start_s, timed.end_s - self._start_s
        queue = timed.answer.queue_s or 0.0
        self._tally.tokens(program, number, timed, reusable=reusable, possible=possible)
        self._tally.times(program, number, due=due, first=first, end=end, queue=queue)
        output = list(timed.answer.output_ids or ())[: turn.output_tokens]
        stand_ins = self._tokens.draw(f"{key} output", turn.output_tokens - len(output))
        program.context = prompt + output + stand_ins
        self._on_progress(self._ended)
        return end

    async def _pause(self, program: Arrived, number: int, begin: float) -> float:
        """What lies between two turns; returns when it is over.

        Raises:
            RequestFailed: a program that this one waits for failed.
        """
        turn = program.plan.turns[number]
        self._hinting.tool_started(program, turn.tool)
        over = begin + seconds(turn.pause)
        if turn.waits_for:
            ends = [False] * len(turn.waits_for)

            async def child(index: int, plan: ProgramPlan) -> None:
                ends[index] = await self._program(plan, begin, program)

            async with anyio.create_task_group() as group:
                for index, plan in enumerate(turn.waits_for):
                    group.start_soon(child, index, plan)
            if not all(ends):
                raise RequestFailed("a program that it waited for failed")
            over = max(over, self.now())
        self._tally.paused(program, number, begin, over)
        return over
