"""What happens to programs and their turns, told to the policy as the simulator tells it."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from agentrt_engine.policy import Phase, Turn
from agentrt_engine.sglang.scheduler.leases import Leases
from agentrt_engine.sglang.scheduler.meter import Meter
from agentrt_engine.sglang.scheduler.programs import End, Live, LiveTurn
from agentrt_engine.sglang.scheduler.prompt_identity import MIN_TOKENS
from agentrt_engine.sglang.scheduler.side_store import Segment
from agentrt_engine.sglang.scheduler.state import State
from agentrt_engine.sglang.scheduler.tree import Place
from agentrt_engine.wire.identity import ProgramTag

#: Tool of a pause of which nobody said what it is for.
UNKNOWN_TOOL = ""

#: For how many steps in a hurry the policy is not asked for the lease of a pause.
MAX_WAIT = 3

#: How often silent programs are looked for, seconds.
SWEEP_S = 1.0


class Lifecycle:
    """Moves programs from one state to the next."""

    def __init__(self, state: State, leases: Leases, meter: Meter) -> None:
        self._state = state
        self._leases = leases
        self._meter = meter
        self._paused: Callable[[Live], None] = lambda _live: None
        self._sweep_s = 0.0
        # Pauses that began, but the policy was not asked for their leases yet; for so many steps.
        self._beginning: list[Live] = []
        self._waited = 0

    def when_paused(self, then: Callable[[Live], None]) -> None:
        """Call this whenever a program begins to pause."""
        self._paused = then

    def begin_pauses(self) -> None:
        """Ask for the leases of programs whose turns ended; what was said of their pauses counts.

        Where a turn ends the next one starts, and steps around that have the least time. So this
        waits for another step, or until anybody may notice.
        """
        if not self._beginning:
            return
        beginning, self._beginning = self._beginning, []
        self._waited = 0
        for live in beginning:
            if live.program.phase is Phase.PAUSED:
                self._leases.granted(live)
                self._paused(live)

    def arrived(
        self, tag: ProgramTag, prompt: array[int], max_tokens: int | None, request_id: str
    ) -> LiveTurn:
        """A request entered the queue."""
        state = self._state
        live, new = state.table.identify(tag, prompt, request_id, state.now)
        program = live.program
        program.prompt_tokens = len(prompt)
        program.max_tokens = max_tokens
        if new:
            self._adopted(live, tag)
            state.totals.programs_started += 1
            state.policy.program_started(state.now, program)
            if (silent := state.table.overflow()) is not None:
                self.end(silent, End.EVICTED)
        elif program.phase is Phase.PAUSED:
            if live in self._beginning:
                self.begin_pauses()
            self._pause_ended(live)
        self._told(live, tag)
        turn = Turn(program, state.now, len(prompt), evicted=live.lost)
        # Nobody can go on from a prompt that says nothing about who sent it.
        only = not tag.program_id and len(prompt) < MIN_TOKENS
        final = only or (tag.final and not live.fallback)
        live_turn = LiveTurn(turn, live, len(prompt), final=final)
        live.lost = False
        live.turns[live_turn] = None
        state.queued[live_turn] = None
        live.settle(state.now)
        if not tag.program_id:
            state.table.remember_prompt(live, prompt)
        state.changed = True
        return live_turn

    def started(self, live_turn: LiveTurn, hit_tokens: int, segment: Segment | None = None) -> None:
        """A waiting turn holds its own KV now: what was held for it idle goes.

        Args:
            hit_tokens: of its prompt, with those of the segment.
            segment: of the idle KV, what it goes on from once it has computed the hole before it.
        """
        state, live, turn = self._state, live_turn.live, live_turn.turn
        self._leases.consumed(live, segment)
        live_turn.segment = segment
        del state.queued[live_turn]
        state.in_batch[turn] = live_turn
        live_turn.running = True
        turn.hit_tokens = hit_tokens
        self._meter.admitted(live_turn)
        state.policy.turn_started(state.now, turn, cached=not live_turn.again)
        live.settle(state.now)

    def preempted(self, live_turn: LiveTurn, generated: int, place: Place | None) -> None:
        """A running turn lost its memory and waits again, with what it had generated.

        Args:
            place: what of it is still in the tree.
        """
        state, turn = self._state, live_turn.turn
        self._left_batch(live_turn)
        turn.preempted = True
        live_turn.rank = None
        turn.queued_s = state.now
        turn.prompt_tokens = live_turn.prompt + generated
        state.queued[live_turn] = None
        state.totals.retractions += 1
        live_turn.live.settle(state.now)
        if place is not None:
            self._leases.held(live_turn.live, place)

    def finished(self, live_turn: LiveTurn, output_tokens: int, place: Place | None) -> None:
        """A turn generated its last token.

        Args:
            place: its KV in the tree; None where it is not there.
        """
        state, live = self._state, live_turn.live
        program = live.program
        self._left_batch(live_turn)
        del live.turns[live_turn]
        program.turns += 1
        program.previous_tokens = program.context_tokens
        program.context_tokens = live_turn.prompt + output_tokens
        program.output_tokens = output_tokens
        program.served_tokens += live_turn.prefilled + output_tokens
        state.totals.turns += 1
        state.totals.output_tokens += output_tokens
        state.table.touch(live, state.now)
        if live_turn.final and live.ending is None:
            live.ending = End.FINAL
        if live.turns:
            state.ranks_version += 1  # of turns that wait meanwhile: it has had more service
        else:
            program.phase = Phase.PAUSED
            program.paused_s = live.state_since_s = state.now
            program.tool = UNKNOWN_TOOL
            program.children = tuple(
                child for child in program.children if child.phase is not Phase.ENDED
            )
        state.policy.turn_ended(state.now, program)
        if live.ending is not None and not live.turns:
            self.end(live, live.ending)
            return
        live.settle(state.now)
        if place is not None:
            self._leases.held(live, place)
        if not live.turns:
            self._beginning.append(live)

    def aborted(self, live_turn: LiveTurn) -> None:
        """A turn was called off, wherever it was; its program keeps nothing."""
        self.begin_pauses()
        state, live = self._state, live_turn.live
        if live_turn.running:
            self._left_batch(live_turn)
        else:
            del state.queued[live_turn]
        del live.turns[live_turn]
        self._leases.dropped(live)
        state.changed = True
        if live.turns:
            live.settle(state.now)
        elif live.ending is not None or live_turn.final or not live.program.turns:
            self.end(live, live.ending or End.ABORTED)
        else:
            live.program.paused_s = state.now
            live.program.tool = UNKNOWN_TOOL
            live.settle(state.now)

    def end(self, live: Live, reason: End) -> bool:
        """The program has no more turns; one that is under way is its last.

        Returns:
            whether it ended now.
        """
        if live.turns:
            live.ending = reason
            return False
        self.begin_pauses()
        state, program = self._state, live.program
        program.phase = Phase.ENDED
        self._leases.dropped(live)
        state.policy.program_ended(state.now, program)
        state.table.remove(live)
        state.count(state.totals.programs_ended, reason)
        if (parent := program.parent) is not None:
            parent.children = tuple(child for child in parent.children if child is not program)
        state.changed = True
        return True

    def flushed(self) -> None:
        """The tree was emptied."""
        state = self._state
        for live in state.table:
            live.lost = True
        state.idle.forget_all()
        state.totals.flushes += 1
        state.changed = True

    def advance(self, now: float, *, hurry: bool) -> None:
        """Time passes: leases expire, programs that fell silent end.

        Args:
            hurry: a turn ended or started in the last step, so that this one has little time.
        """
        state = self._state
        state.now = max(now, state.now)
        if self._beginning:
            self._waited += 1
            if not hurry or self._waited > MAX_WAIT:
                self.begin_pauses()
        self._leases.expire()
        if state.now >= self._sweep_s:
            self._sweep_s = state.now + SWEEP_S
            for live in _silent(state, state.now - state.limits.idle_s):
                self.end(live, End.IDLE)

    def _adopted(self, live: Live, tag: ProgramTag) -> None:
        if tag.parent_id is None:
            return
        parent = self._state.table.find(tag.owner, tag.parent_id)
        if parent is not None and parent is not live:
            live.program.parent = parent.program
            parent.program.children += (live.program,)

    def _told(self, live: Live, tag: ProgramTag) -> None:
        """What the request says of its program."""
        state, program = self._state, live.program
        if tag.max_turns is not None:
            program.max_turns = tag.max_turns
        if tag.remaining_s is not None:
            program.remaining_s = tag.remaining_s
        if tag.max_turns is not None or tag.remaining_s is not None:
            state.told(program)
        if tag.priority is not None:
            self.prioritize(live, tag.priority)

    def prioritize(self, live: Live, asked: float) -> float:
        """Give a program, with all that wait for it and that it waits for, a priority.

        Returns:
            the priority it got.
        """
        root = live.program.root
        root.priority = self._state.limits.priority(asked)
        self._state.told(live.program if root.phase is Phase.ENDED else root)
        return root.priority

    def _pause_ended(self, live: Live) -> None:
        state, program = self._state, live.program
        if live.predicted_s is not None:
            seconds = state.now - program.paused_s
            totals = state.totals
            totals.pauses += 1
            totals.pause_s += seconds
            totals.predicted_pause_s += live.predicted_s
            totals.pause_error_s += abs(seconds - live.predicted_s)
            live.predicted_s = None
        state.policy.pause_ended(state.now, program)
        program.tool = None
        program.expected = None
        live.tools.clear()

    def _left_batch(self, live_turn: LiveTurn) -> None:
        state = self._state
        del state.in_batch[live_turn.turn]
        live_turn.running = False
        if live_turn.segment is not None:  # it left before it came to it
            state.idle.side.drop(live_turn.segment)
            live_turn.segment = None
        self._meter.left(live_turn)
        state.changed = state.turnover = True


def _silent(state: State, until_s: float) -> list[Live]:
    """Paused programs that have done nothing since then, nor have their children."""
    silent = []
    for live in state.table:
        if live.seen_s > until_s:
            break
        if not live.turns and not live.program.children:
            silent.append(live)
    return silent
