"""The oldest program against a stream of juniors, which a gate has to hold back.

The oldest has turns of 1,000 and 60,000 tokens with a pause of 8 s between; one junior of
28,000 + 3,000 tokens arrives per second. Capacity 100,000 tokens.
"""

from __future__ import annotations

import pytest

from agentrt_engine.outcome import ProgramOutcome
from agentrt_engine.policy import make_policy
from agentrt_engine.simulated.arrivals import OpenLoop
from agentrt_engine.simulated.engine import SimulatedEngine
from agentrt_engine.simulated.profile import load_profile
from agentrt_engine.simulated.settings import EngineSettings
from agentrt_engine.simulated.workload import plan_workload
from agentrt_engine.wire.trace import PauseKind, ProgramRecord, TurnRecord


def turn(tokens: int, output: int, *, new: int, pause_s: float | None = None) -> TurnRecord:
    kind = PauseKind.FINAL if pause_s is None else PauseKind.TOOL
    return TurnRecord(tokens, new, output, pause_s, kind)


def oldest_of(juniors: int, specification: str) -> ProgramOutcome:
    """The outcome of the oldest program."""
    oldest = ProgramRecord(
        "oldest",
        "",
        (turn(1000, 100, new=1000, pause_s=8.0), turn(60_000, 100, new=58_900)),
    )
    records = [oldest] + [
        ProgramRecord(f"j{index}", "", (turn(28_000, 3000, new=28_000),))
        for index in range(juniors)
    ]
    settings = EngineSettings(load_profile("llama-3.1-8b-h200").costs(), kv_tokens=100_000)
    engine = SimulatedEngine(settings, make_policy(specification))
    plans = plan_workload(records, page=settings.page)
    outcomes = engine.run(OpenLoop(plans, [0.0, *(float(at) for at in range(1, juniors + 1))]))
    return outcomes[0]


def test_behind_a_gate_the_oldest_takes_as_long_whatever_the_number_of_juniors() -> None:
    few, many = (oldest_of(juniors, "guard").jct_s or 0.0 for juniors in (25, 100))
    assert few == pytest.approx(many, rel=0.02)
    # 11 s alone, and one junior's turn to wait for.
    assert many < 40.0


def test_without_a_gate_the_oldest_starves_the_longer_the_more_juniors_there_are() -> None:
    waits = [oldest_of(juniors, "guard:gate=no").jct_s or 0.0 for juniors in (25, 50, 100)]
    assert waits[1] > 1.7 * waits[0]
    assert waits[2] > 1.7 * waits[1]
