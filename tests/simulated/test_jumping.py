"""Jumping from event to event comes to the same as doing every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from agentrt_engine.outcome import ProgramOutcome
from tests.support.simulated import SPECIFICATIONS, run, settings
from tests.support.workloads import workload


def exact_and_summed(outcomes: list[ProgramOutcome]) -> Iterator[tuple[Any, Any]]:
    """What must be equal, and the accounts, whose floats are summed in another order."""
    for outcome in outcomes:
        fields = asdict(outcome)
        account = fields.pop("account")
        lost_to = account.pop("lost_to")
        yield (fields, lost_to), account


def assert_alike(jumped: list[ProgramOutcome], stepped: list[ProgramOutcome]) -> None:
    """Everything is equal but for how sums of floats are rounded."""
    for (exact, summed), (exact_too, summed_too) in zip(
        exact_and_summed(jumped), exact_and_summed(stepped), strict=True
    ):
        assert exact == exact_too
        assert summed == pytest.approx(summed_too, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("specification", SPECIFICATIONS)
@pytest.mark.parametrize("kind", ["open", "closed"])
def test_outcomes_are_those_of_every_step_done_by_itself(specification: str, kind: str) -> None:
    evicted = preempted = 0
    for seed in range(4):
        # Little memory, so that there are evictions and preemptions.
        engine = settings(1000 + 60 * seed, page=(1, 16)[seed % 2], max_running=4 + seed % 3)
        records = workload(seed)
        jumped = run(records, specification, engine, kind=kind)
        stepped = run(records, specification, engine, kind=kind, stepwise=True)
        assert_alike(jumped, stepped)
        evicted += sum(outcome.lost_tokens for outcome in jumped)
        preempted += sum(outcome.preemptions for outcome in jumped)
    if specification not in ("infinite-kv", "oracle-retention"):
        assert evicted
    if specification == "lru":
        assert preempted
