"""Prompts have exactly the structure of the trace."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt.replay.live.tokens import TokenSource, usable_ids
from agentrt_engine.simulated.shared_prefixes import Segment
from agentrt_engine.simulated.workload import ProgramPlan, TurnPlan, plan_workload
from tests.replay.live.plans import growing
from tests.support.workloads import workload

IDS = usable_ids(32_000)


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens that two sequences begin with alike."""
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))


def contexts(source: TokenSource, plan: ProgramPlan) -> list[list[int]]:
    """Prompt and output of each turn."""
    made: list[list[int]] = []
    for number, turn in enumerate(plan.turns):
        key = f"{plan.program_id} {number}"
        prompt = source.prompt(turn, made[-1] if made else [], key)
        assert len(prompt) == turn.input_tokens
        made.append(prompt + source.draw(f"{key} output", turn.output_tokens))
    return made


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_prompt_begins_with_exactly_the_reusable_part_of_the_turn_before(seed: int) -> None:
    plans = plan_workload(workload(seed), page=1)
    source = TokenSource(plans, "content", IDS)
    for plan in plans:
        made = contexts(source, plan)
        for turn, before, after in zip(plan.turns[1:], made, made[1:], strict=False):
            prompt = after[: turn.input_tokens]
            alike = common(before, prompt)
            if turn.segments and turn.segments[-1].end > turn.reusable_tokens:
                assert alike >= turn.reusable_tokens
            else:
                assert alike == turn.reusable_tokens


def test_programs_share_their_prefix_and_nothing_else() -> None:
    system = Segment(0, 30)
    plans = [growing("a", shares=[system]), growing("b", shares=[system]), growing("c")]
    source = TokenSource(plans, "content", IDS)
    a, b, c = (contexts(source, plan) for plan in plans)
    assert common(a[0], b[0]) == 30
    assert common(a[0], c[0]) == 0


def test_segments_that_branch_share_as_far_as_they_are_the_same() -> None:
    trunk, left, right = Segment(0, 10), Segment(10, 20), Segment(10, 25)
    plans = [
        growing("a", shares=[trunk, left]),
        growing("b", shares=[trunk, right]),
        growing("c", shares=[trunk, right]),
    ]
    source = TokenSource(plans, "content", IDS)
    a, b, c = (contexts(source, plan)[0] for plan in plans)
    assert common(a, b) == 10
    assert common(b, c) == 25


def test_equal_contents_give_equal_tokens_and_others_give_others() -> None:
    plan = growing("a")
    same = [contexts(TokenSource([plan], "1/1", IDS), plan) for _ in range(2)]
    assert same[0] == same[1]
    other = contexts(TokenSource([plan], "1/2", IDS), plan)
    assert common(same[0][0], other[0]) == 0


@pytest.mark.parametrize("chance", range(200))
def test_a_new_token_is_never_the_next_one_of_the_context_by_chance(chance: int) -> None:
    # With nine ids to draw from, it would be about every ninth time.
    source = TokenSource([], "content", range(100, 109))
    context = source.draw(f"context {chance}", 20)
    prompt = source.prompt(TurnPlan(30, 12, 1, 0, "bash"), context, f"turn {chance}")
    assert common(context, prompt) == 12


@pytest.mark.parametrize("vocabulary", [16, 300, 32_000, 50_000, 200_000])
def test_ids_are_within_the_vocabulary_and_not_at_its_ends(vocabulary: int) -> None:
    ids = usable_ids(vocabulary)
    assert 0 < ids.start < ids.stop < vocabulary
    drawn = TokenSource([], "content", ids).draw("key", 5000)
    assert set(drawn) <= set(ids)
    assert len(set(drawn)) > min(len(ids), 5000) // 2
