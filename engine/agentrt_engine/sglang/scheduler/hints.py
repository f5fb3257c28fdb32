"""What clients say of their programs, put into effect."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from agentrt_engine.policy import Phase
from agentrt_engine.policy.expectation import Expectation
from agentrt_engine.sglang.scheduler.leases import Leases
from agentrt_engine.sglang.scheduler.lifecycle import UNKNOWN_TOOL, Lifecycle
from agentrt_engine.sglang.scheduler.programs import End, Live
from agentrt_engine.sglang.scheduler.room import Cause, Room
from agentrt_engine.sglang.scheduler.state import State
from agentrt_engine.wire.control import OwnedHint
from agentrt_engine.wire.hints import Hint, HintKind, HintOutcome, HintResult

#: Share of a key's leases that may be pinned.
PIN_SHARE = 0.5

#: Hints kept for a program whose turn is under way; the oldest are forgotten.
MAX_PENDING = 8

#: Tool calls of one pause that are told apart; further ones are not waited for.
MAX_TOOLS = 64

#: What a tool that has just begun is thought to take at most, seconds: a year.
LONGEST_S = 366 * 86_400.0

#: How soon the next turn comes once all tools are done, median, seconds.
AFTER_TOOLS_S = 0.2

#: Of the predicted pause, what is told to whoever says that a tool has started.
_TOLD_QUANTILES = (0.5, 0.95)

Result = tuple[HintResult, str]

_APPLIED = (HintResult.APPLIED, "")
_DEFERRED = (HintResult.DEFERRED, "its turn is under way")


class Hints:
    """Applies hints; each gets an outcome, none can fail."""

    def __init__(self, state: State, lifecycle: Lifecycle, leases: Leases, room: Room) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._leases = leases
        self._room = room
        self._apply: dict[HintKind, Callable[[Live, Hint], Result]] = {
            HintKind.TOOL_STARTED: self._tool_started,
            HintKind.TOOL_FINISHED: self._tool_finished,
            HintKind.TOOL_PROGRESS: self._tool_progress,
            HintKind.REMAINING: self._remaining,
            HintKind.PRIORITY: self._priority,
            HintKind.ENDED: self._ended,
            HintKind.PREFETCH: self._prefetch,
            HintKind.DEMOTE: self._demote,
            HintKind.PIN: self._pin,
            HintKind.RETAIN: self._retain,
            HintKind.SHARE: self._share,
        }

    def apply(self, owned: OwnedHint) -> HintOutcome:
        """Put one hint into effect.

        A client reaches only programs of its own key; those of others are unknown to it.
        """
        self._lifecycle.begin_pauses()
        state, hint = self._state, owned.hint
        live = state.table.find(owned.owner, hint.program_id)
        if live is None:
            result, why = HintResult.REJECTED, "unknown program"
        else:
            state.table.touch(live, state.now)
            result, why = self._apply[hint.kind](live, hint)
            state.changed = True
        state.count(state.totals.hints, result)
        outcome = HintOutcome(hint.program_id, hint.kind, result, why)
        if live is not None and hint.kind is HintKind.TOOL_STARTED and result is HintResult.APPLIED:
            return self._with_terms(outcome, live)
        return outcome

    def _with_terms(self, outcome: HintOutcome, live: Live) -> HintOutcome:
        """The outcome, and what the policy predicts and grants for the pause."""
        state, held = self._state, self._state.idle.get(live.program)
        pause_s = {
            str(quantile): seconds
            for quantile in _TOLD_QUANTILES
            if (seconds := state.policy.predict_pause(live.program, quantile)) is not None
        }
        if held is None or held.context.lease is None:
            return msgspec.structs.replace(outcome, pause_s=pause_s or None)
        ttl_s = held.context.lease.until_s - state.now
        return msgspec.structs.replace(
            outcome,
            ttl_s=ttl_s if math.isfinite(ttl_s) else None,
            held_tokens=held.context.tokens,
            pause_s=pause_s or None,
        )

    def paused(self, live: Live) -> None:
        """A program's turn ended: what was said of its pause meanwhile counts now."""
        pending, live.pending = live.pending, []
        for hint in pending:
            self._apply[hint.kind](live, hint)

    def _later(self, live: Live, hint: Hint) -> Result:
        """Keep a hint for the pause to come, unless its pause is over: the next turn waits."""
        if all(turn.phase is Phase.WAITING for turn in live.turns):
            return HintResult.REJECTED, "its next turn is there already"
        live.pending = [*live.pending[1 - MAX_PENDING :], hint]
        return _DEFERRED

    def _tool_started(self, live: Live, hint: Hint) -> Result:
        if live.turns:
            return self._later(live, hint)
        state, program = self._state, live.program
        expected = None
        if hint.expected_s:
            started_s = self._elapsed(live)
            points = {float(q): started_s + seconds for q, seconds in hint.expected_s.items()}
            try:
                expected = Expectation.of(points)
            except ValueError as error:
                return HintResult.REJECTED, f"expected_s: {error}"
        if len(live.tools) < MAX_TOOLS:
            live.tools.add(hint.call_id or hint.tool or UNKNOWN_TOOL)
        program.tool = hint.tool or UNKNOWN_TOOL
        program.expected = expected
        if expected is not None:
            state.told(program)
        state.policy.tool_started(state.now, program, program.tool)
        self._leases.granted(live)
        return _APPLIED

    def _tool_finished(self, live: Live, hint: Hint) -> Result:
        if live.turns:
            return self._later(live, hint)
        live.tools.discard(hint.call_id or hint.tool or UNKNOWN_TOOL)
        if not live.tools:
            self._expect(live, self._elapsed(live) + AFTER_TOOLS_S)
        return _APPLIED

    def _tool_progress(self, live: Live, hint: Hint) -> Result:
        if live.program.phase is not Phase.PAUSED:
            return HintResult.REJECTED, "no tool of it is under way"
        if not hint.progress:
            return HintResult.REJECTED, "progress is missing"
        self._expect(live, min(self._elapsed(live) / hint.progress, LONGEST_S))
        return _APPLIED

    def _elapsed(self, live: Live) -> float:
        return self._state.now - live.program.paused_s

    def _expect(self, live: Live, seconds: float) -> None:
        """The pause is expected to last so long in all."""
        live.program.expected = Expectation.of({0.5: seconds})
        self._state.told(live.program)
        self._leases.renewed(live)

    def _remaining(self, live: Live, hint: Hint) -> Result:
        program = live.program
        if hint.remaining_turns is not None:
            program.max_turns = program.turns + len(live.turns) + hint.remaining_turns
        if hint.remaining_s is not None:
            program.remaining_s = hint.remaining_s
        self._state.told(program)
        return _APPLIED

    def _priority(self, live: Live, hint: Hint) -> Result:
        asked = hint.priority or 0.0
        given = self._lifecycle.prioritize(live, asked)
        return _APPLIED if given == asked else (HintResult.CLIPPED, f"priority is {given:g}")

    def _ended(self, live: Live, hint: Hint) -> Result:
        return _APPLIED if self._lifecycle.end(live, End.HINT) else _DEFERRED

    def _prefetch(self, live: Live, hint: Hint) -> Result:
        return HintResult.UNSUPPORTED, "there is no host tier to fetch KV from"

    def _share(self, live: Live, hint: Hint) -> Result:
        return HintResult.UNSUPPORTED, "equal prefixes are shared without being asked"

    def _demote(self, live: Live, hint: Hint) -> Result:
        if live.turns:
            return HintResult.REJECTED, "its turn is under way"
        if (held := self._nothing_held(live)) is not None:
            return held
        self._room.release(live, Cause.DEMOTED)
        return _APPLIED

    def _retain(self, live: Live, hint: Hint) -> Result:
        if live.turns:
            return self._later(live, hint)
        if (held := self._nothing_held(live)) is not None:
            return held
        self._leases.renewed(live)
        return _APPLIED

    def _pin(self, live: Live, hint: Hint) -> Result:
        if live.turns:
            return self._later(live, hint)
        state, held = self._state, self._state.idle.get(live.program)
        if held is None:
            return self._nothing_held(live) or _APPLIED
        limits = state.limits
        asked = limits.pin_s if hint.ttl_s is None else hint.ttl_s
        pinned = sum(
            other.context.tokens
            for other in state.idle
            if other.owner == live.owner and other is not held and other.pinned_until_s > state.now
        )
        if pinned + held.context.tokens > PIN_SHARE * state.lease_tokens:
            return HintResult.REJECTED, "as much as may be is pinned"
        seconds = min(asked, limits.pin_s)
        held.pinned_until_s = state.now + seconds
        if seconds < asked:
            return HintResult.CLIPPED, f"pinned for {seconds:g} s"
        return _APPLIED

    def _nothing_held(self, live: Live) -> Result | None:
        if self._state.idle.get(live.program) is not None:
            return None
        if not self._state.policy.retains:
            return HintResult.UNSUPPORTED, f"policy {self._state.policy.name} holds no KV"
        return HintResult.REJECTED, "nothing is held for it"
