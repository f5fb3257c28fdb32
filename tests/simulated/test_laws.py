"""What holds under every policy, for any workload: nothing is lost, nothing is free."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import Phase, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from agentrt_engine.outcome import ProgramOutcome
from agentrt_engine.wire.trace import ProgramRecord
from tests.support.simulated import SPECIFICATIONS, Watch, run, settings, watched
from tests.support.workloads import Shape, workload

policies = pytest.mark.parametrize("specification", SPECIFICATIONS)
kinds = pytest.mark.parametrize("kind", ["open", "closed"])

#: A smaller seed is not a simpler workload, so there is nothing to shrink.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)

#: Under which a gate may stay shut although nothing runs, but not for longer than this: with
#: nothing running for 2 s any retention yields, and that is noticed at the next recheck.
GUARDS = ("guard", "oracle-pauses", "oracle-work")
LONGEST_IDLE_S = 2.0 + 2 * 0.25


def watch(
    specification: str, kind: str, seed: int, *, shares: bool = True
) -> tuple[list[ProgramRecord], Watch, list[ProgramOutcome]]:
    """One of many small engines under pressure; holds that no page is ever given twice."""
    records = workload(seed, Shape(programs=10, shares=shares))
    engine = settings(
        (950, 1100, 1700)[seed % 3],
        page=(1, 16)[seed % 2],
        chunk_tokens=(64, 300, 8192)[seed // 2 % 3],
        max_running=(2, 5, 64)[seed // 3 % 3],
    )
    return records, *watched(records, specification, engine, kind=kind)


def by_program(
    records: Sequence[ProgramRecord], outcomes: Sequence[ProgramOutcome]
) -> list[tuple[ProgramRecord, ProgramOutcome]]:
    found = {outcome.program_id: outcome for outcome in outcomes}
    assert len(found) == len(outcomes) == len(records)
    return [(record, found[record.program_id]) for record in records]


@policies
@kinds
@limits(max_examples=8, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 10_000))
def test_every_program_ends_with_all_its_turns_and_tokens(
    specification: str, kind: str, seed: int
) -> None:
    records, _seen, outcomes = watch(specification, kind, seed)
    for record, outcome in by_program(records, outcomes):
        assert outcome.end_s is not None
        assert outcome.end_s >= outcome.arrival_s
        assert outcome.turns == len(record.turns) == len(outcome.ttft_s)
        assert min(outcome.ttft_s) >= 0
        assert outcome.output_tokens == sum(max(1, turn.output_tokens) for turn in record.turns)
        assert outcome.hit_tokens >= 0
        assert outcome.host_hit_tokens == 0
        assert outcome.lost_tokens == sum(outcome.account.lost_to.values())
        assert all(tokens > 0 for tokens in outcome.account.lost_to.values())
        assert outcome.account.held_token_s >= 0
        assert outcome.account.held_price_s >= 0


@policies
@kinds
@limits(max_examples=8, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 10_000))
def test_a_program_that_shares_nothing_is_never_faster_than_alone(
    specification: str, kind: str, seed: int
) -> None:
    """Nor finds more than it left: with shared prefixes it may, and both bounds are its own."""
    records, _seen, outcomes = watch(specification, kind, seed, shares=False)
    for record, outcome in by_program(records, outcomes):
        assert outcome.jct_s is not None
        # Times are whole picoseconds until they become floats.
        assert outcome.jct_s >= outcome.isolated_s - 1e-9
        assert outcome.hit_tokens <= outcome.reusable_tokens
        if not outcome.preemptions:
            prompts = sum(turn.input_tokens for turn in record.turns)
            assert outcome.new_tokens + outcome.reusable_tokens == prompts


@policies
@kinds
@limits(max_examples=8, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 10_000))
def test_the_accounts_add_up_to_the_time_of_all_steps(
    specification: str, kind: str, seed: int
) -> None:
    _records, seen, outcomes = watch(specification, kind, seed)
    charged = sum(
        outcome.account.prefill_s + outcome.account.recompute_s + outcome.account.decode_s
        for outcome in outcomes
    )
    assert charged == pytest.approx(seen.busy_s, rel=1e-9)


@policies
@kinds
@limits(max_examples=8, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 10_000))
def test_an_engine_is_not_idle_while_the_head_of_the_queue_would_fit(
    specification: str, kind: str, seed: int
) -> None:
    _records, seen, _outcomes = watch(specification, kind, seed)
    if specification.startswith(GUARDS):
        assert seen.idle_s <= LONGEST_IDLE_S
    else:
        assert seen.refused_s == 0


@policies
def test_the_same_again_comes_to_the_same(specification: str) -> None:
    records = workload(7)
    first, second = (run(records, specification, settings()) for _ in range(2))
    assert first == second
