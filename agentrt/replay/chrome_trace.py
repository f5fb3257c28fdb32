"""The timelines of runs as a Chrome trace, for Perfetto and chrome://tracing.

Format: the JSON object form of the Trace Event Format; times in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from agentrt.replay.atomic_file import atomic_file
from agentrt_engine.outcome import Occupancy, RunOutcome, Segment, Timeline

Event = dict[str, Any]
#: Counters of a run and the quantities that each stacks.
_COUNTERS = {
    "KV tokens": ("running", "leased", "cached", "free"),
    "waiting turns": ("waiting_turns",),
    "active programs": ("active_programs",),
}


def write_chrome_trace(path: Path, runs: Iterable[RunOutcome]) -> None:
    """Write a process per run that has a timeline, a thread per program, and counters.

    Events are written one by one, so that memory does not grow with the trace.

    Args:
        path: the file, compressed if its name ends in `.gz`; replaced only when it is whole.

    Raises:
        SettingError: the file cannot be written.
    """
    encoder = msgspec.json.Encoder()
    with atomic_file(path, what="Chrome trace") as file:
        file.write(b'{"displayTimeUnit":"ms","traceEvents":[')
        separator = b"\n"
        for event in _events(runs):
            file.write(separator + encoder.encode(event))
            separator = b",\n"
        file.write(b"\n]}\n")


def _events(runs: Iterable[RunOutcome]) -> Iterator[Event]:
    for process, run in enumerate(runs, start=1):
        if run.timeline is not None:
            yield from _run(process, run, run.timeline)


def _run(process: int, run: RunOutcome, timeline: Timeline) -> Iterator[Event]:
    name = f"{run.policy}, seed {run.seed}"
    yield _metadata(process, 0, "process_name", {"name": name})
    yield _metadata(process, 0, "process_sort_index", {"sort_index": process})
    order = sorted(timeline.segments, key=attrgetter("program", "start_s"))
    for index, segments in groupby(order, key=attrgetter("program")):
        yield from _program(process, run, index, list(segments))
    yield from _counters(process, timeline.occupancy)


def _program(process: int, run: RunOutcome, index: int, segments: list[Segment]) -> Iterator[Event]:
    """A thread: the whole program, in it what it did, and when its KV was evicted."""
    program, thread = run.programs[index], index + 1
    yield _metadata(process, thread, "thread_name", {"name": program.program_id})
    yield _metadata(process, thread, "thread_sort_index", {"sort_index": thread})
    begin_s = min(program.arrival_s, segments[0].start_s)
    end_s = max(segments[-1].end_s, program.end_s or 0.0)
    whole = {"turns": program.turns, "lost_tokens": program.lost_tokens}
    yield _complete(process, thread, program.agent, "program", begin_s, end_s, whole)
    for segment in segments:
        kind = segment.activity.value
        turn = {"turn": segment.turn}
        yield _complete(process, thread, kind, kind, segment.start_s, segment.end_s, turn)
        if segment.evicted_s is not None:
            yield {
                "ph": "i",
                "s": "t",
                "pid": process,
                "tid": thread,
                "ts": _microseconds(segment.evicted_s),
                "name": "evicted",
                "cat": "evicted",
                "args": turn,
            }


def _complete(
    process: int,
    thread: int,
    name: str,
    category: str,
    begin_s: float,
    end_s: float,
    arguments: dict[str, int],
) -> Event:
    # The end is rounded, not the length: what touches in seconds touches in microseconds.
    start = _microseconds(begin_s)
    return {
        "ph": "X",
        "pid": process,
        "tid": thread,
        "ts": start,
        "dur": _microseconds(end_s) - start,
        "name": name,
        "cat": category,
        "args": arguments,
    }


def _counters(process: int, samples: list[Occupancy]) -> Iterator[Event]:
    """A counter event whenever one of its quantities changed."""
    last: dict[str, dict[str, int]] = {}
    for sample in samples:
        for name, kinds in _COUNTERS.items():
            values = {kind: getattr(sample, kind) for kind in kinds}
            if last.get(name) != values:
                last[name] = values
                yield {
                    "ph": "C",
                    "pid": process,
                    "ts": _microseconds(sample.time_s),
                    "name": name,
                    "args": values,
                }


def _metadata(process: int, thread: int, name: str, arguments: dict[str, Any]) -> Event:
    return {"ph": "M", "pid": process, "tid": thread, "name": name, "args": arguments}


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
