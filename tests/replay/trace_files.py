"""Small trace files for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentrt.replay.trace_file import Trace, load_trace
from agentrt_engine.wire.trace import PauseKind, ProgramRecord, TurnRecord


def jsonl(path: Path, *objects: Any) -> Path:
    """A file of one object per line."""
    path.write_text("".join(json.dumps(item) + "\n" for item in objects))
    return path


def load_jsonl(folder: Path, *objects: Any, name: str = "trace.jsonl") -> Trace:
    """The objects as a trace, its format recognised."""
    return load_trace(jsonl(folder / name, *objects))


def turn(input_tokens: int, new_tokens: int, output_tokens: int = 10, **more: Any) -> TurnRecord:
    """A turn with a tool pause of one second."""
    fields: dict[str, Any] = {"pause_s": 1.0, "pause_kind": PauseKind.TOOL, **more}
    return TurnRecord(
        input_tokens=input_tokens, new_tokens=new_tokens, output_tokens=output_tokens, **fields
    )


def program(name: str, *turns: TurnRecord, **more: Any) -> ProgramRecord:
    """A program of the agent `coder`."""
    return ProgramRecord(program_id=name, agent="coder", turns=turns, **more)


def sizes(record: ProgramRecord) -> list[tuple[int, int, int]]:
    """Input, new and output tokens of each turn."""
    return [(t.input_tokens, t.new_tokens, t.output_tokens) for t in record.turns]


def pauses(record: ProgramRecord) -> list[float | None]:
    """Pause after each turn."""
    return [t.pause_s for t in record.turns]
