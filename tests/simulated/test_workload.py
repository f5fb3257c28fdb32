"""From a trace to plans: what is reusable, how long pauses are, who waits for whom."""

from __future__ import annotations

import pytest

from agentrt_engine.simulated.clock import seconds
from agentrt_engine.simulated.workload import ProgramPlan, TurnPlan, plan_workload
from agentrt_engine.wire.trace import PauseKind, ProgramRecord, ToolRecord, TurnRecord
from tests.support.simulated import run, settings
from tests.support.workloads import workload


def turn(
    tokens: int,
    *,
    new: int | None = None,
    output: int = 10,
    pause_s: float | None = 1.0,
    kind: PauseKind = PauseKind.TOOL,
    tools: tuple[ToolRecord, ...] = (),
    waits_for: tuple[str, ...] = (),
    hash_ids: tuple[int, ...] = (),
) -> TurnRecord:
    return TurnRecord(
        tokens, tokens if new is None else new, output, pause_s, kind, tools, waits_for, hash_ids
    )


def program(name: str, *turns: TurnRecord, prefix: tuple[str, int] | None = None) -> ProgramRecord:
    prefix_id, prefix_tokens = prefix or (None, None)
    return ProgramRecord(name, "", turns, prefix_id=prefix_id, prefix_tokens=prefix_tokens)


def only(record: ProgramRecord, *, pause_cap_s: float | None = None) -> list[TurnPlan]:
    (plan,) = plan_workload([record], page=16, pause_cap_s=pause_cap_s)
    return plan.turns


def test_reusable_is_what_the_turn_before_left_and_the_prompt_still_begins_with() -> None:
    turns = only(
        program(
            "a",
            turn(100, new=40),
            turn(150, new=40),
            turn(300, new=20),
            turn(50, new=0),
            turn(80, new=80),
        )
    )
    # Nothing before the first; all it kept; no more than there was; a cut; a fresh start.
    assert [turn.reusable_tokens for turn in turns] == [0, 110, 160, 50, 0]


def test_a_turn_generates_at_least_one_token() -> None:
    assert [turn.output_tokens for turn in only(program("a", turn(5, output=0)))] == [1]


def test_pauses_are_cut_to_the_cap() -> None:
    record = program("a", turn(5, pause_s=2.0), turn(5, pause_s=500.0), turn(5, pause_s=None))
    assert [seconds(turn.pause) for turn in only(record)] == [2.0, 500.0, 0.0]
    assert [seconds(turn.pause) for turn in only(record, pause_cap_s=300.0)] == [2.0, 300.0, 0.0]


@pytest.mark.parametrize(
    ("record", "tool"),
    [
        (turn(5, tools=(ToolRecord("ls", 0.1), ToolRecord("make", 9.0))), "make"),
        (turn(5, tools=(ToolRecord("ls", None),)), "ls"),
        (turn(5, kind=PauseKind.USER), "user"),
        (turn(5), "pause"),
    ],
)
def test_a_pause_is_named_after_the_slowest_tool(record: TurnRecord, tool: str) -> None:
    assert only(program("a", record, turn(5)))[0].tool == tool


def test_children_belong_to_the_turn_that_waits_for_them_and_take_their_own_time() -> None:
    records = [
        program("child", turn(70, output=30)),
        program(
            "parent",
            turn(5, pause_s=60.0, waits_for=("child",), tools=(ToolRecord("task", 2.0),)),
            turn(9),
        ),
    ]
    (parent,) = plan_workload(records, page=16)
    first, second = parent.turns
    assert [child.program_id for child in first.waits_for] == ["child"]
    assert first.waits_for[0].is_child
    assert not parent.is_child
    assert second.waits_for == ()
    # Of the pause in the trace the child took its part.
    assert seconds(first.pause) == 2.0
    assert parent.largest_turn == 19
    assert parent.largest_of_family() == 100


def test_a_parent_waits_for_its_children_and_they_for_nobody() -> None:
    records = workload(1)
    children = {child for record in records for turn in record.turns for child in turn.waits_for}
    assert children
    ends = {outcome.program_id: outcome for outcome in run(records, "program-fcfs", settings())}
    parents = {
        child: record.program_id
        for record in records
        for turn in record.turns
        for child in turn.waits_for
    }
    for child, parent in parents.items():
        child_end, parent_end = ends[child].end_s, ends[parent].end_s
        assert child_end is not None
        assert parent_end is not None
        assert ends[parent].arrival_s <= ends[child].arrival_s < child_end < parent_end


# Prefixes.


def shared_tokens(plan: ProgramPlan) -> list[int]:
    return [sum(part.end - part.start for part in turn.segments) for turn in plan.turns]


def test_programs_with_the_same_prefix_share_its_whole_pages() -> None:
    one, two, other = plan_workload(
        [
            program("a", turn(200), turn(300), prefix=("system", 100)),
            program("b", turn(120), prefix=("system", 100)),
            program("c", turn(120), prefix=("lonely", 100)),
        ],
        page=16,
    )
    assert shared_tokens(one) == [96, 96]
    assert shared_tokens(two) == [96]
    assert shared_tokens(other) == [0]
    assert one.turns[0].segments[0] is two.turns[0].segments[0]


def test_a_prompt_shorter_than_its_prefix_is_its_own() -> None:
    plans = plan_workload(
        [
            program("a", turn(200), prefix=("system", 100)),
            program("b", turn(50), turn(130), prefix=("system", 100)),
        ],
        page=16,
    )
    for plan in plans:
        for planned in plan.turns:
            assert all(part.end <= planned.input_tokens for part in planned.segments)
    assert shared_tokens(plans[1]) == [0, 96]


def test_adapters_do_not_share() -> None:
    records = [
        ProgramRecord(name, "", (turn(200),), adapter=adapter, prefix_id="x", prefix_tokens=64)
        for name, adapter in (("a", None), ("b", "lora"), ("c", "lora"))
    ]
    assert [shared_tokens(plan) for plan in plan_workload(records, page=16)] == [[0], [64], [64]]


def test_blocks_are_shared_up_to_the_last_whole_one_in_whole_pages() -> None:
    records = [
        ProgramRecord(name, "", (turn(tokens, hash_ids=ids),), block_tokens=24)
        for name, tokens, ids in (
            ("a", 100, (1, 2, 3, 4, 5)),
            ("b", 90, (1, 2, 3, 9)),
            # Its third block is not full, so it is not the block of that name.
            ("c", 60, (1, 2, 3)),
        )
    ]
    shared = [shared_tokens(plan) for plan in plan_workload(records, page=16)]
    assert shared == [[64], [64], [48]]
