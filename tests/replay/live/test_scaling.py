"""Scaled workloads keep their structure."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt.errors import ReplayError
from agentrt.replay.live.scaling import scaled_list, scaled_plans, within
from agentrt_engine.simulated.shared_prefixes import Segment
from agentrt_engine.simulated.workload import plan_workload
from tests.replay.live.plans import arriving, growing
from tests.support.workloads import workload


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), tokens=st.floats(0.001, 3.0))
def test_turns_stay_possible_and_whole_contexts_stay_whole(seed: int, tokens: float) -> None:
    plans = plan_workload(workload(seed), page=1)
    for plan, small in zip(plans, scaled_plans(plans, tokens=tokens), strict=True):
        assert small.turns[0].reusable_tokens == 0
        for turn, scaled in zip(plan.turns, small.turns, strict=True):
            assert scaled.input_tokens >= 1
            assert scaled.output_tokens >= 1
            assert scaled.reusable_tokens <= scaled.input_tokens
            assert (turn.reusable_tokens < turn.input_tokens) <= (
                scaled.reusable_tokens < scaled.input_tokens
            )
            assert len(scaled.waits_for) == len(turn.waits_for)
        for (before, after), (b, a) in zip(
            pairwise(plan.turns), pairwise(small.turns), strict=True
        ):
            whole = before.input_tokens + before.output_tokens
            assert a.reusable_tokens <= b.input_tokens + b.output_tokens
            if after.reusable_tokens == whole:
                assert a.reusable_tokens == b.input_tokens + b.output_tokens


def test_scale_one_changes_nothing() -> None:
    plans = plan_workload(workload(3), page=1)
    for plan, same in zip(plans, scaled_plans(plans), strict=True):
        for turn, other in zip(plan.turns, same.turns, strict=True):
            assert (turn.input_tokens, turn.reusable_tokens, turn.output_tokens, turn.pause) == (
                other.input_tokens,
                other.reusable_tokens,
                other.output_tokens,
                other.pause,
            )


def test_what_programs_share_they_share_afterwards() -> None:
    system = Segment(0, 30)
    a, b = scaled_plans([growing("a", shares=[system]), growing("b", shares=[system])], tokens=0.5)
    assert a.turns[0].segments[0] is b.turns[0].segments[0]
    assert (a.turns[0].segments[0].start, a.turns[0].segments[0].end) == (0, 15)


def test_time_scales_pauses_and_arrivals() -> None:
    (plan,) = scaled_plans([growing("a", pause_s=2.0)], time=0.25)
    assert plan.turns[0].pause == 0.5e12
    assert scaled_list(arriving(0.0, 4.0), 0.25).arrival_s == (0.0, 1.0)


def test_programs_that_do_not_fit_are_left_out() -> None:
    small, large = growing("small", turns=1), growing("large", turns=30)
    workload_ = within([small, large], 100)
    assert [plan.program_id for plan in workload_.plans] == ["small"]
    assert workload_.left_out == ["large"]
    assert within([small, large], None).left_out == []


def test_when_nothing_fits_the_message_says_which_scale_would() -> None:
    with pytest.raises(ReplayError, match="no program fits 100 tokens") as caught:
        within([growing("large", turns=1, first=996)], 100)
    share = float(caught.value.hint.rpartition(" ")[2])
    assert within(scaled_plans([growing("large", turns=1, first=996)], tokens=share), 100).plans
