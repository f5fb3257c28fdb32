"""Small workloads for tests of replays."""

from __future__ import annotations

import random
from pathlib import Path

from agentrt.replay.trace_file import Trace, load_trace
from agentrt_engine.wire.trace import ProgramRecord, TraceHeader
from tests.replay.trace_files import program, turn


def agents(number: int, *, turns: int = 4, first: int = 2000) -> list[ProgramRecord]:
    """Programs of growing contexts and short pauses, each a little different."""
    rng = random.Random(number)
    made = []
    for index in range(number):
        context, steps = 0, []
        for step in range(turns):
            new = (first if step == 0 else 300) + rng.randrange(200)
            output = 20 + rng.randrange(30)
            steps.append(turn(context + new, new, output, pause_s=rng.uniform(0.2, 2.0)))
            context += new + output
        made.append(program(f"agent-{index}", *steps, arrival_s=10.0 + 0.5 * index))
    return made


def written(path: Path, programs: list[ProgramRecord]) -> Path:
    """The programs as a trace file."""
    lines = [TraceHeader({}).encode(), *(record.encode() for record in programs)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def trace_of(folder: Path, programs: list[ProgramRecord]) -> Trace:
    """The programs as a trace that was read."""
    return load_trace(written(folder / "agents.jsonl", programs))
