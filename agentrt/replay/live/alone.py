"""How long programs would roughly take alone, guessed from a run with others.

Only good enough to tell whether a backlog grew (`agentrt.replay.overload`); no slowdown is
reported from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agentrt.replay.overload import is_overloaded
from agentrt_engine.outcome import ProgramOutcome, RunOutcome

#: The part of the turns that is taken to have met an engine with nothing else to do.
_UNDISTURBED = 0.1


@dataclass(slots=True)
class Work:
    """What a program did besides queueing: seconds of its pauses."""

    paused_s: float = 0.0
    decode_s: float = 0.0


def overloaded(run: RunOutcome, works: Sequence[Work]) -> bool:
    """Whether the backlog of a live run grew until the last arrival.

    Args:
        works: of its programs, in their order.
    """
    first = _undisturbed([time for program in run.programs for time in program.ttft_s])
    per_token = _undisturbed(
        [
            work.decode_s / program.output_tokens
            for program, work in zip(run.programs, works, strict=True)
            if program.output_tokens
        ]
    )

    def alone_s(program: ProgramOutcome, work: Work) -> float:
        return work.paused_s + program.turns * first + program.output_tokens * per_token

    programs = [
        replace(program, isolated_s=alone_s(program, work))
        for program, work in zip(run.programs, works, strict=True)
    ]
    return is_overloaded(replace(run, programs=programs))


def _undisturbed(times: Sequence[float]) -> float:
    return sorted(times)[int(_UNDISTURBED * len(times))] if times else 0.0
