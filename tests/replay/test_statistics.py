"""Figures of traces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.replay.statistics import Summary, trace_statistics
from agentrt_engine.wire.trace import PauseKind, ToolRecord
from tests.replay.trace_files import program, turn


def test_quantiles_are_values_that_occur() -> None:
    summary = Summary.of([float(value) for value in range(100, 0, -1)])
    assert (summary.p50, summary.p95, summary.p99, summary.max) == (50.0, 95.0, 99.0, 100.0)
    assert summary.mean == 50.5
    assert Summary.of([7.0]) == Summary(1, 7.0, 7.0, 7.0, 7.0, 7.0)
    assert Summary.of([]).count == 0


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_quantiles_are_ordered(values: list[float]) -> None:
    summary = Summary.of(values)
    assert min(values) <= summary.p50 <= summary.p95 <= summary.p99 <= summary.max


def test_pauses_by_kind_without_what_follows_the_last_turn() -> None:
    statistics = trace_statistics(
        [
            program(
                "p",
                turn(10, 10, pause_s=2.0),
                turn(30, 10, pause_s=None, pause_kind=PauseKind.USER),
                turn(50, 10, pause_s=99.0),
            )
        ]
    )
    tool, user = statistics.pauses
    assert (tool.kind, tool.seconds.count, tool.seconds.max) == (PauseKind.TOOL, 1, 2.0)
    assert (user.kind, user.seconds.count, user.unknown) == (PauseKind.USER, 0, 1)


def test_tools_with_and_without_durations() -> None:
    tools = (ToolRecord("ls", 1.0), ToolRecord("ls", None), ToolRecord("cat", 2.0))
    statistics = trace_statistics([program("p", turn(10, 10, tools=tools))])
    assert [(tool.name, tool.calls, tool.unknown) for tool in statistics.tools] == [
        ("ls", 2, 1),
        ("cat", 1, 0),
    ]


def test_the_footprint_takes_the_largest_contexts() -> None:
    programs = [program(f"p{size}", turn(size, size, 10)) for size in range(100, 2100, 100)]
    eight, all_of_them = trace_statistics(programs).footprints
    assert eight.peak_tokens == sum(range(1300, 2100, 100)) + 80
    assert eight.mean_tokens == 8 * 1060
    assert all_of_them.peak_tokens == sum(range(100, 2100, 100)) + 200


def test_reusable_tokens_are_limited_by_the_context_of_the_turn_before() -> None:
    # Of the second prompt 900 tokens are said to be old, but only 110 can be in the cache.
    statistics = trace_statistics([program("p", turn(100, 100), turn(1000, 100))])
    assert statistics.reusable_share == 110 / 1100


def test_shared_prefixes_count_from_the_second_program_on() -> None:
    shared = [
        program(name, turn(48, 48, hash_ids=ids), block_tokens=16)
        for name, ids in {"a": (0, 1, 2), "b": (0, 1, 3), "c": (9, 1, 2)}.items()
    ]
    assert trace_statistics(shared).shared_share == 32 / 144
    prefixed = [
        program(name, turn(100, 100), prefix_id="system", prefix_tokens=40) for name in "abc"
    ]
    assert trace_statistics(prefixed).shared_share == pytest.approx(80 / 300)
    assert trace_statistics([program("p", turn(10, 10))]).shared_share is None


def test_arrivals_and_children() -> None:
    statistics = trace_statistics(
        [
            program("p", turn(10, 10), arrival_s=1.0),
            program("q", turn(10, 10), arrival_s=5.5, parent_id="p"),
        ]
    )
    assert (statistics.children, statistics.arrival_span_s) == (1, 4.5)
    assert statistics.agents == {"coder": 2}
