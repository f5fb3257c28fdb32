"""The Chrome trace: it parses, events nest, and they add up to the timeline."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import SettingError
from agentrt.replay.chrome_trace import write_chrome_trace
from agentrt_engine.outcome import RunOutcome
from tests.support import outcomes

Event = dict[str, Any]


@pytest.fixture(scope="module")
def runs() -> list[RunOutcome]:
    return [outcomes.run(policy, 3, programs=15) for policy in ("lru", "guard")]


@pytest.fixture(scope="module")
def events(runs: list[RunOutcome], tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    write_chrome_trace(path, runs)
    return read(path)


def read(path: Path) -> list[Event]:
    packed = path.read_bytes()
    found = json.loads(gzip.decompress(packed) if path.suffix == ".gz" else packed)
    assert found["displayTimeUnit"] == "ms"
    events: list[Event] = found["traceEvents"]
    return events


def test_a_process_is_a_run_and_a_thread_a_program(events: list[Event]) -> None:
    names = {
        (e["name"], e["pid"], e["tid"]): e["args"]["name"]
        for e in events
        if e["name"].endswith("_name")
    }
    assert names["process_name", 1, 0] == "lru, seed 3"
    assert names["process_name", 2, 0] == "guard, seed 3"
    assert names["thread_name", 2, 5] == "program-0004"
    assert len(names) == 2 + 2 * 15


def test_segments_follow_each_other_inside_their_program(events: list[Event]) -> None:
    threads: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append(event)
    assert len(threads) == 30
    for whole, *parts in threads.values():
        assert whole["cat"] == "program"
        assert whole["ts"] == parts[0]["ts"]
        assert whole["dur"] == sum(part["dur"] for part in parts)
        for before, after in pairwise(parts):
            assert before["ts"] + before["dur"] == after["ts"]


def test_segments_add_up_to_the_timeline(runs: list[RunOutcome], events: list[Event]) -> None:
    for process, run in enumerate(runs, start=1):
        assert run.timeline is not None
        expected: dict[str, float] = defaultdict(float)
        for segment in run.timeline.segments:
            expected[segment.activity.value] += segment.end_s - segment.start_s
        spent: dict[str, float] = defaultdict(float)
        for event in events:
            if event["ph"] == "X" and event["pid"] == process and event["cat"] != "program":
                spent[event["name"]] += event["dur"] / 1e6
        assert spent == pytest.approx(expected, abs=1e-3)


def test_an_eviction_is_an_instant_within_its_pause(
    runs: list[RunOutcome], events: list[Event]
) -> None:
    instants = [e for e in events if e["ph"] == "i"]
    timelines = [run.timeline for run in runs if run.timeline is not None]
    evicted = [s for t in timelines for s in t.segments if s.evicted_s is not None]
    assert len(instants) == len(evicted) > 10
    for instant in instants:
        assert any(
            e["ph"] == "X"
            and e["cat"] in ("tool", "children")
            and (e["pid"], e["tid"], e["args"]) == (instant["pid"], instant["tid"], instant["args"])
            and e["ts"] <= instant["ts"] <= e["ts"] + e["dur"]
            for e in events
        )


def test_counters_hold_the_occupancy_at_every_time(
    runs: list[RunOutcome], events: list[Event]
) -> None:
    timeline = runs[0].timeline
    assert timeline is not None
    counters = [e for e in events if e["ph"] == "C" and e["pid"] == 1]
    memory = [e for e in counters if e["name"] == "KV tokens"]
    assert all(sum(e["args"].values()) == runs[0].capacity_tokens for e in memory)
    for sample in timeline.occupancy[::50]:
        now = {e["name"]: e["args"] for e in counters if e["ts"] <= round(sample.time_s * 1e6)}
        assert now == {
            "KV tokens": {
                "running": sample.running,
                "leased": sample.leased,
                "cached": sample.cached,
                "free": sample.free,
            },
            "waiting turns": {"waiting_turns": sample.waiting_turns},
            "active programs": {"active_programs": sample.active_programs},
        }


def test_a_program_that_never_ended_reaches_to_its_last_segment(tmp_path: Path) -> None:
    run = outcomes.run("lru", 1, programs=1)
    run.programs[0].end_s = None
    write_chrome_trace(tmp_path / "trace.json", [run])
    whole = next(e for e in read(tmp_path / "trace.json") if e.get("cat") == "program")
    assert run.timeline is not None
    last_s = run.timeline.segments[-1].end_s
    assert whole["ts"] + whole["dur"] == round(last_s * 1e6)


def test_runs_without_a_timeline_are_left_out(tmp_path: Path) -> None:
    write_chrome_trace(tmp_path / "trace.json", [outcomes.run("lru", 1, timeline=False)])
    assert read(tmp_path / "trace.json") == []


def test_names_are_escaped(tmp_path: Path) -> None:
    run = outcomes.run("lru", 1, programs=1)
    name = run.programs[0].program_id = 'a "quoted" \\ \x00 </script> 名前'
    write_chrome_trace(tmp_path / "trace.json", [run])
    names = [e["args"]["name"] for e in read(tmp_path / "trace.json") if e["name"] == "thread_name"]
    assert names == [name]


def test_a_name_in_gz_is_compressed_and_the_same_every_time(
    tmp_path: Path, runs: list[RunOutcome], events: list[Event]
) -> None:
    for name in ("one.json.gz", "two.json.gz"):
        write_chrome_trace(tmp_path / name, runs)
    assert read(tmp_path / "one.json.gz") == events
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "two.json.gz").read_bytes()


def test_an_old_file_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text("old")
    broken = outcomes.run("lru", 1, programs=2)
    broken.programs.pop()
    with pytest.raises(IndexError):
        write_chrome_trace(path, [broken])
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("trace.json", "old")]


def test_a_file_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(SettingError, match="cannot write the Chrome trace ") as found:
        write_chrome_trace(tmp_path / "taken" / "trace.json", [])
    assert found.value.hint
