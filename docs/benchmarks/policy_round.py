"""What a policy costs the scheduler: microseconds per round of admissions and per event.

    .venv/bin/python docs/benchmarks/policy_round.py --json policy_round.json

A busy engine made of plain values: 16 turns run, 200 wait, 1,000 programs pause, in 12 tools whose
durations are log-normal. Every round is 20 ms later. In it the engine reports its steps, lets the
policy prepare (a live one does so at every eighth step), opens the gate, asks for the rank of every
waiting turn and for the admission of the first five, and one that does not fit asks for memory that
the policy does not give. In one round of five a turn ended before it, and another one's pause.
`roomy`: the memory could hold every context; `full`: a third of them.
CPU time of one thread; here the policy has the caches of the core to itself, in an engine not.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any

import msgspec
from cyclopts import App
from remaining_work import machine
from rich.console import Console
from rich.table import Table

from agentrt_engine.policy import Context, Costs, Phase, Program, Turn, make_policy

COSTS = Costs(fixed_s=0.0052, decode_s=2.7e-8, prefill_s=1.6e-5, position_s=6e-10)
RUNNING, WAITING, PAUSED = 16, 200, 1000
CONTEXT_TOKENS = 20_000
STEP_S = 0.02
EVENT_EVERY = 5
ADMITTED = 5
TOOLS = 12
HISTORY = 2000

app = App(help=__doc__, help_format="plaintext")


@dataclass(slots=True)
class Engine:
    """An `EngineView` of plain values."""

    capacity_tokens: int
    free_tokens: int = 0
    host_tokens: int = 0
    costs: Costs = COSTS
    looks: float = 16.0
    programs: dict[str, Program] = field(default_factory=dict)
    turns: dict[Program, Turn] = field(default_factory=dict)
    batch: dict[Turn, None] = field(default_factory=dict)
    queue: dict[Turn, int] = field(default_factory=dict)
    idle: dict[Program, Context] = field(default_factory=dict)

    @property
    def running(self) -> Collection[Turn]:
        return self.batch.keys()

    @property
    def waiting(self) -> int:
        return len(self.queue)

    def position(self, program: Program) -> int:
        return self.queue[self.turns[program]]

    def context(self, program: Program) -> Context:
        return self.idle.get(program) or Context(program, {})


class Busy:
    """The engine, its policy, and what happens in a round."""

    def __init__(self, specification: str, share: float, seed: int) -> None:
        self.rng = random.Random(seed)
        self.policy = make_policy(specification)
        self.policy.attach(COSTS)
        self.now = 1e4
        programs = RUNNING + WAITING + PAUSED
        self.engine = Engine(int(programs * CONTEXT_TOKENS * share))
        self.medians_s = [0.1 * 2.0**k for k in range(TOOLS)]
        self.taken_us: dict[str, list[float]] = {}
        self._learn()
        for arrival in range(programs):
            self._add(arrival)

    def _learn(self) -> None:
        teacher = Program("teacher", -1, 0.0, phase=Phase.PAUSED)
        self.policy.program_started(0.0, teacher)
        for _ in range(HISTORY):
            teacher.tool, seconds = self._pause()
            teacher.paused_s = self.now - seconds
            self.policy.pause_ended(self.now, teacher)
        teacher.turns = 1
        self.policy.program_ended(self.now, teacher)
        self.policy.stepped(self.now, 1e4, RUNNING, RUNNING * CONTEXT_TOKENS, 0.8)

    def _pause(self) -> tuple[str, float]:
        tool = min(int(self.rng.expovariate(0.5)), TOOLS - 1)
        return f"tool{tool}", self.rng.lognormvariate(0.0, 1.0) * self.medians_s[tool]

    def _add(self, arrival: int) -> None:
        program = Program(f"p{arrival}", arrival, float(arrival))
        program.prompt_tokens = program.context_tokens = CONTEXT_TOKENS + arrival
        program.max_tokens = 256
        self.engine.programs[program.program_id] = program
        self.policy.program_started(self.now, program)
        if arrival < PAUSED:
            self._pauses(program)
            program.paused_s -= self.rng.uniform(0.0, 30.0)
            return
        self._waits(program)
        if arrival >= PAUSED + WAITING:
            self._starts(program)

    def _waits(self, program: Program) -> None:
        program.phase = Phase.WAITING
        turn = self.engine.turns[program] = Turn(program, self.now, program.prompt_tokens)
        self.engine.queue[turn] = len(self.engine.queue)

    def _starts(self, program: Program) -> None:
        turn = self.engine.turns[program]
        del self.engine.queue[turn]
        self.engine.idle.pop(program, None)
        self.engine.batch[turn] = None
        program.phase = Phase.RUNNING
        self.policy.turn_started(self.now, turn, cached=True)

    def _pauses(self, program: Program) -> None:
        program.phase = Phase.PAUSED
        program.turns += 1
        program.tool, _seconds = self._pause()
        program.paused_s = self.now
        self.policy.turn_ended(self.now, program)
        self.policy.tool_started(self.now, program, program.tool)
        context = Context(program, {}, tokens=program.context_tokens, used_s=self.now)
        context.lease = self.policy.lease(self.now, program, self.engine)
        self.engine.idle[program] = context

    def _event(self) -> None:
        """A turn ends, a waiting one starts, and a pause ends."""
        ended = next(iter(self.engine.batch)).program
        del self.engine.batch[self.engine.turns.pop(ended)]
        self._pauses(ended)
        self._starts(next(iter(self.engine.queue)).program)
        paused = [each for each in self.engine.idle if each.phase is Phase.PAUSED]
        back = self.rng.choice(paused)
        self.timed("event", lambda: self.policy.pause_ended(self.now, back))
        back.tool = None
        self._waits(back)

    def round(self, number: int) -> None:
        """One round of admissions."""
        self.now += STEP_S
        policy, engine, now = self.policy, self.engine, self.now
        if number % EVENT_EVERY == 0:
            self._event()
        turns = list(engine.queue)
        idle = self._resident()
        begun = time.thread_time()
        kv_tokens = RUNNING * CONTEXT_TOKENS * self.rng.uniform(0.9, 1.1)
        self.timed("stepped", lambda: policy.stepped(now, STEP_S, RUNNING, kv_tokens, 0.8))
        self.timed("prepare", lambda: policy.prepare(now, engine))
        self.timed("open_gate", lambda: policy.open_gate(now, engine))
        self.timed("rank of 200", lambda: [policy.rank(now, turn) for turn in turns])
        self.timed("admit of 5", lambda: [policy.admit(now, t, engine) for t in turns[:ADMITTED]])
        need = 2 * engine.capacity_tokens
        head = min(turns, key=lambda turn: policy.rank(now, turn))
        self.timed(
            "reclaim, refused",
            lambda: policy.reclaim(now, head, need, idle, engine, backfill=False),
        )
        self.taken_us.setdefault("round", []).append((time.thread_time() - begun) * 1e6)

    def _resident(self) -> list[Context]:
        """As many idle contexts as fit the memory, those idle for longest."""
        left = self.engine.capacity_tokens - RUNNING * CONTEXT_TOKENS
        contexts = []
        for context in sorted(self.engine.idle.values(), key=lambda each: each.used_s):
            left -= context.tokens
            if left >= 0:
                contexts.append(context)
        return contexts

    def timed(self, what: str, call: Callable[[], object]) -> None:
        begun = time.thread_time()
        call()
        self.taken_us.setdefault(what, []).append((time.thread_time() - begun) * 1e6)


@app.default
def main(
    *policies: str, rounds: int = 3000, warm_up: int = 200, seed: int = 1, json: Path | None = None
) -> None:
    """Measure and print the table.

    Parameters
    ----------
    policies
        By default guard and guard-srpt.
    rounds
        That are measured.
    warm_up
        Rounds before them.
    seed
        Of pauses and events.
    json
        File for the figures.
    """
    view = Table(box=None, pad_edge=False)
    for heading in ("policy", "memory", "µs per", "mean", "median", "p99"):
        view.add_column(heading, justify="left" if heading in ("policy", "memory") else "right")
    rows: list[dict[str, Any]] = []
    for policy in policies or ("guard", "guard-srpt"):
        for memory, share in (("roomy", 1.1), ("full", 0.33)):
            busy = Busy(policy, share, seed)
            for number in range(warm_up):
                busy.round(number)
            busy.taken_us.clear()
            for number in range(rounds):
                busy.round(number)
            for what, taken in busy.taken_us.items():
                p99 = quantiles(taken, n=100)[98]
                figures = [round(each, 1) for each in (fmean(taken), median(taken), p99)]
                view.add_row(policy, memory, what, *map(str, figures))
                rows.append(
                    {"policy": policy, "memory": memory, "what": what}
                    | dict(zip(("mean_us", "median_us", "p99_us"), figures, strict=True))
                )
    Console(width=100).print(view)
    if json is not None:
        report = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "rounds": rounds,
            "figures": rows,
        }
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


if __name__ == "__main__":
    app()
