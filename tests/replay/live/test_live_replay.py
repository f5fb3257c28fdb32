"""Whole replays on several engines: order of the runs, rows, document, notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import EngineLost
from agentrt.replay.formats.catalog import TraceFormat
from agentrt.replay.live.engine import open_engine
from agentrt.replay.live.live_replay import LiveReplay, LiveResult
from agentrt.replay.live.settings import LiveSettings
from agentrt.replay.load import Closed, Load, Poisson
from agentrt.replay.report import ReportContent, write_report
from agentrt.replay.trace_file import Trace
from agentrt.replay.workload import Workload
from agentrt.testing import in_virtual_time
from tests.replay.live.plans import growing
from tests.support.live_server import Kind, LiveServer

PLANS = [growing(f"p{index}", pause_s=0.5 + index) for index in range(4)]


def replayed(
    servers: dict[str, LiveServer],
    *,
    load: Load = Poisson(1.0),  # noqa: B008 - frozen
    seeds: Sequence[int] = (1, 2),
    settings: LiveSettings | None = None,
    change: Callable[[LiveReplay], LiveReplay] = lambda replay: replay,
) -> LiveResult:
    async def run() -> LiveResult:
        async with AsyncExitStack() as stack:
            engines = [
                await stack.enter_async_context(
                    open_engine(server.address(name), transport=server.transport())
                )
                for name, server in servers.items()
            ]
            workload = Workload(PLANS, [])
            replay = LiveReplay(
                files=[Path("some.jsonl")],
                trace=Trace(Path("some.jsonl"), TraceFormat.AGENTRT, {}, [], ["a note"]),
                workload=workload,
                settings=settings or LiveSettings(),
                load=load,
                lists=load.lists(workload, seeds=seeds, programs=None),
                engines=[engine.facts for engine in engines],
                record=True,
            )
            return await change(replay).run(engines, on_progress=lambda _done: None)

    return in_virtual_time(run)


def pair(**slow: Any) -> dict[str, LiveServer]:
    return {
        "fast": LiveServer(prefill_s=0.1, token_s=0.01),
        "slow": LiveServer(prefill_s=0.2, token_s=0.02, **slow),
    }


def document(result: LiveResult) -> dict[str, Any]:
    return result.document(result.compared())


# ----------------------------------------------------------------- order, rows


def test_engines_take_turns_and_another_is_first_each_time() -> None:
    servers = pair()
    replayed(servers, settings=LiveSettings(repeats=2))
    starts = sorted(
        (asked.at_s, name, asked.prompt)
        for name, server in servers.items()
        for asked in server.asked
    )
    blocks: list[str] = []
    for _, name, _ in starts:
        if not blocks or blocks[-1] != name:
            blocks.append(name)
    # Two seeds, two repeats; where one ends a round and begins the next, its blocks touch.
    assert blocks == ["fast", "slow", "fast", "slow", "fast"]


def test_every_engine_gets_the_same_prompts_of_the_first_turns() -> None:
    servers = pair()
    replayed(servers)
    fast, slow = (
        sorted(asked.prompt for asked in server.asked if len(asked.prompt) == 40)
        for server in servers.values()
    )
    assert fast == slow
    assert len(set(fast)) == 8


def test_a_row_per_engine_with_its_ratio_to_the_first() -> None:
    compared = replayed(pair(), settings=LiveSettings(repeats=2)).compared()
    first, second = compared.rows
    assert [row["policy"] for row in compared.rows] == ["fast", "slow"]
    assert first["seeds"] == [1, 1, 2, 2]
    assert first["programs"] == 16
    assert first["hit_rate"] == 1.0
    assert first["slowdown_p99"] is None
    assert "paired" not in first
    ratio = second["paired"]["jct_mean"]
    assert ratio["pairs"] == 4
    assert 1.0 < ratio["low"] <= ratio["median"] <= ratio["high"] < 2.0
    assert second["paired"]["prefilled_tokens"]["median"] == 1.0
    assert second["jct_median_s"] > first["jct_median_s"]


def test_arrivals_are_scaled_and_the_rows_say_nothing_of_it() -> None:
    servers = {"one": LiveServer()}
    usual = replayed(servers, seeds=(1,))
    quick = replayed(servers, seeds=(1,), settings=LiveSettings(time_scale=0.5))
    gaps = [
        [p.arrival_s for p in result.measured.runs[0][0].outcome.programs]
        for result in (usual, quick)
    ]
    assert gaps[1] == pytest.approx([0.5 * at for at in gaps[0]])


def test_a_sweep_has_a_point_for_each_engine_and_concurrency() -> None:
    result = replayed(
        pair(), load=Closed(2), seeds=(1,), change=lambda replay: replace(replay, sweep=(1, 2))
    )
    points = result.compared().sweep
    assert [(point.policy, point.concurrency) for point in points] == [
        ("fast", 1),
        ("fast", 2),
        ("slow", 1),
        ("slow", 2),
    ]
    assert points[1].throughput_per_1000_s > points[0].throughput_per_1000_s
    assert len(result.swept.runs[0][0].outcome.programs) == 8


# ------------------------------------------------------------------- document


def test_the_document_has_the_shape_of_the_format() -> None:
    found = document(replayed(pair(), settings=LiveSettings(time_scale=0.5, repeats=2)))
    assert found["schema"] == "agentrt.replay.v1"
    assert found["engine"]["kind"] == "live"
    assert [engine["name"] for engine in found["engine"]["engines"]] == ["fast", "slow"]
    assert found["engine"]["engines"][0]["url"] == "http://engine:30000"
    assert found["settings"]["time_scale"] == 0.5
    assert found["settings"]["repeats"] == 2
    assert "--engine fast=http://engine:30000" in found["settings"]["command"]
    assert "--repeats 2" in found["settings"]["command"]
    assert found["notes"] == ["a note"]
    entries = [(run["engine"], run["seed"], run["repeat"]) for run in found["runs"]]
    assert entries[:5] == [
        ("fast", 1, 1),
        ("fast", 1, 2),
        ("fast", 2, 1),
        ("fast", 2, 2),
        ("slow", 1, 1),
    ]
    assert all(run["prefilled_tokens"] > 0 for run in found["runs"])


def test_no_key_is_in_the_document() -> None:
    servers = {"guarded": LiveServer(key="sesame")}
    assert "sesame" not in str(document(replayed(servers)))


def test_a_report_is_made_of_it_as_of_simulated_ones(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = replayed(pair())
    compared = result.compared()
    content = ReportContent(result.document(compared), compared.outcomes, compared.sweep)
    write_report(tmp_path / "report.html", content)
    page = (tmp_path / "report.html").read_text()
    assert "<title>Replay of some.jsonl</title>" in page
    assert "Measured on live engines" in page
    assert "Simulated" not in page
    assert "2 engines" in page
    assert "JCT × first, paired" in page
    assert "a note" in page


# ---------------------------------------------------------------------- notes


def notes(servers: dict[str, LiveServer], **more: Any) -> str:
    return "\n".join(replayed(servers, **more).notes())


def test_an_engine_that_says_little_is_noted_and_has_no_hit_rate() -> None:
    result = replayed({"plain": LiveServer(Kind.PLAIN, shortest=2)})
    said = "\n".join(result.notes())
    assert "plain: the engine does not say which tokens it generated" in said
    assert "no hit rate" in said
    assert "24 turns generated fewer tokens than the trace has" in said
    (row,) = result.compared().rows
    assert row["hit_rate"] is None
    assert row["recomputed_per_new"] is None


def test_a_cache_that_holds_earlier_runs_is_noted_unless_it_is_flushed() -> None:
    servers = {"one": LiveServer()}
    assert "give --flush" not in notes(servers)
    assert "give --flush" in notes(servers)
    flushing = LiveSettings(flush=True)
    assert "give --flush" not in notes(servers, settings=flushing)
    assert len(servers["one"].flushes) == 2
    assert "could not be emptied" in notes({"v": LiveServer(Kind.VLLM)}, settings=flushing)


def test_a_client_that_was_late_is_noted() -> None:
    result = replayed({"one": LiveServer()})
    assert "lagged" not in "\n".join(result.notes())
    result.measured.runs[0][0].lags_s[3] = 0.2
    assert "1 of 24 requests were sent more than 50 ms" in "\n".join(result.notes())


def test_failures_are_counted_in_row_note_and_runs() -> None:
    servers = pair(fails=lambda asked: 500 if asked.program.startswith("p1.") else None)
    result = replayed(servers)
    assert result.failures() == 2
    first, second = result.compared().rows
    assert (first["failed"], second["failed"], second["unfinished"]) == (0, 2, 2)
    # A run without one of its programs is no pair for one with all of them.
    assert second["paired"] == {"jct_mean": None, "prefilled_tokens": None}
    assert "slow: 2 programs failed; the first, p1, at turn 0: HTTP 500" in "\n".join(
        result.notes()
    )


def test_an_engine_on_which_nothing_works_has_no_row() -> None:
    with pytest.raises(EngineLost, match="not one program got to its end on slow"):
        replayed(pair(fails=lambda asked: 503))
