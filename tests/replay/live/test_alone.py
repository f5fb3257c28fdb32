"""Whether a live run was overloaded, although nobody knows what programs take alone."""

from __future__ import annotations

import pytest

from agentrt.replay.live.alone import Work, overloaded
from agentrt.replay.live.backlog import backlog
from agentrt_engine.outcome import ProgramOutcome, RunOutcome


def run(later_s: float, programs: int = 60) -> tuple[RunOutcome, list[Work]]:
    """A program per second; each waits `later_s` longer than the one before it."""
    outcomes = []
    for index in range(programs):
        wait_s = later_s * index
        outcomes.append(
            ProgramOutcome(
                f"p{index}",
                "coder",
                float(index),
                end_s=index + wait_s + 8.0,
                ttft_s=[1.0 + wait_s],
                turns=1,
                output_tokens=100,
            )
        )
    made = RunOutcome("live", 1, outcomes, None, backlog=backlog(outcomes))
    return made, [Work(paused_s=5.0, decode_s=2.0) for _ in outcomes]


@pytest.mark.parametrize(("later_s", "expected"), [(0.0, False), (0.5, True)])
def test_a_run_is_overloaded_if_each_program_waits_longer(later_s: float, expected: bool) -> None:
    assert overloaded(*run(later_s)) is expected


def test_a_run_that_is_only_filling_is_not() -> None:
    # All programs come before any can end even alone.
    outcome, works = run(0.0)
    for program in outcome.programs:
        program.end_s = program.arrival_s + 108.0
    outcome.backlog = backlog(outcome.programs)
    assert not overloaded(outcome, [Work(paused_s=105.0, decode_s=2.0) for _ in works])
