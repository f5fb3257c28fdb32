"""The pauses of a trace, in the order in which an engine would see them begin and end."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentrt_engine.policy.prediction import Call
from agentrt_engine.wire.trace import PauseKind, ProgramRecord, TurnRecord

#: Seconds that a turn is assumed to take at the engine.
TURN_S = 2.0


@dataclass(frozen=True, slots=True)
class Begins:
    """A pause for tools begins."""

    call: Call
    seconds: float


@dataclass(frozen=True, slots=True)
class Ends:
    """It is over, after so many seconds; a `call` of None: the program is."""

    program: int
    call: Call | None
    seconds: float


def pauses(programs: Sequence[ProgramRecord], active: int) -> Iterator[Begins | Ends]:
    """What happens when so many programs are active at once, in the order of the trace.

    Only pauses for tools whose length is known are told of. The engine is assumed to take
    `TURN_S` for each turn, so that nothing depends on a policy.
    """
    waiting = iter(range(len(programs)))
    events: list[tuple[float, int, int, int, bool]] = []
    count = 0

    def at(time: float, program: int, turn: int, *, asks: bool) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (time, count, program, turn, asks))

    for program in [next(waiting, None) for _ in range(active)]:
        if program is not None:
            at(TURN_S, program, 0, asks=False)
    while events:
        now, _, program, number, asks = heapq.heappop(events)
        turns = programs[program].turns
        if asks:  # the pause behind this turn is over
            call = _call(program, turns[number])
            pause = turns[number].pause_s
            if call is not None and pause is not None:
                yield Ends(program, call, pause)
            at(now + TURN_S, program, number + 1, asks=False)
        elif number >= len(turns) - 1:
            yield Ends(program, None, 0.0)
            after = next(waiting, None)
            if after is not None:
                at(now + TURN_S, after, 0, asks=False)
        else:
            call = _call(program, turns[number])
            pause = turns[number].pause_s
            if call is not None and pause is not None:
                yield Begins(call, pause)
            at(now + (pause or 0.0), program, number, asks=True)


def _call(program: int, turn: TurnRecord) -> Call | None:
    if turn.pause_kind is not PauseKind.TOOL:
        return None
    names = sorted({tool.name for tool in turn.tools}) or ["tool"]
    signatures = [tool.signature for tool in turn.tools if tool.signature]
    return Call(
        program,
        "+".join(names),
        max(1, len(turn.tools)),
        turn.output_tokens,
        signatures[0] if len(signatures) == 1 else "",
    )
