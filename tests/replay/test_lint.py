"""Where turns stop sharing a prefix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.replay.lint import Cause, lint_programs
from agentrt_engine.wire.trace import ProgramRecord, TurnRecord
from tests.replay.trace_files import program, turn


def test_prompts_that_only_append_are_clean() -> None:
    report = lint_programs([program("p", turn(1000, 1000), turn(1500, 490), turn(1600, 90))])
    assert report.follow_ups == 2
    assert report.breaks == []
    assert report.share == 0.0


@pytest.mark.parametrize(
    ("follow_up", "cause", "wasted"),
    [
        # The turn before has a prompt of 10,000 tokens and a reply of 500.
        (turn(12_000, 12_000), Cause.EARLY, 10_500),
        (turn(12_000, 11_700), Cause.EARLY, 10_200),
        (turn(12_000, 6_000), Cause.MIDDLE, 4_500),
        (turn(12_000, 2_000), Cause.REPLY, 500),
        (turn(12_000, 2_100), Cause.REPLY, 600),
        (turn(12_000, 1_700), Cause.REPLY, 200),
        (turn(12_000, 1_520), Cause.TAIL, 20),
        (turn(4_000, 2_000), Cause.SHRUNK, 2_000),
        (turn(4_000, 4_000), Cause.RESET, 4_000),
    ],
)
def test_the_place_of_the_difference_tells_the_cause(
    follow_up: TurnRecord, cause: Cause, wasted: int
) -> None:
    report = lint_programs([program("p", turn(10_000, 10_000, 500), follow_up)])
    (found,) = report.breaks
    assert (found.cause, found.wasted_tokens, found.turn) == (cause, wasted, 1)
    assert report.share == wasted / (10_000 + follow_up.input_tokens)


def test_a_difference_within_one_block_is_not_blamed_on_the_history() -> None:
    coarse = program(
        "p",
        turn(10_000, 10_000, 700, hash_ids=tuple(range(20))),
        turn(12_000, 12_000 - 19 * 512, hash_ids=(*range(19), *range(90, 94))),
        block_tokens=512,
    )
    assert [found.cause for found in lint_programs([coarse]).breaks] == [Cause.REPLY]


def test_the_most_wasteful_come_first() -> None:
    report = lint_programs(
        [
            program("small", turn(1000, 1000, 100), turn(2000, 1000)),
            program("large", turn(10_000, 10_000), turn(20_000, 20_000), turn(21_000, 990)),
            program("clean", turn(10, 10)),
        ]
    )
    assert [total.program_id for total in report.programs] == ["large", "small"]
    assert report.programs[0].worst_turn == 1
    assert [total.cause for total in report.causes] == [Cause.EARLY, Cause.REPLY]


@st.composite
def any_program(draw: st.DrawFn) -> ProgramRecord:
    turns = []
    for _ in range(draw(st.integers(1, 6))):
        tokens = draw(st.integers(1, 5000))
        turns.append(turn(tokens, draw(st.integers(0, tokens)), draw(st.integers(1, 600))))
    return program("p", *turns)


@given(any_program())
def test_waste_is_part_of_the_new_tokens_of_follow_ups(record: ProgramRecord) -> None:
    report = lint_programs([record])
    assert report.wasted_tokens == sum(total.wasted_tokens for total in report.causes)
    for found in report.breaks:
        assert 0 < found.wasted_tokens <= record.turns[found.turn].new_tokens
    assert 0.0 <= report.share <= 1.0
