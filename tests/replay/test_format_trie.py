"""trie: lengths only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import TraceError
from agentrt.replay.formats.catalog import TraceFormat
from agentrt_engine.wire.trace import PauseKind
from tests.replay.trace_files import load_jsonl, pauses, sizes

RUN: dict[str, Any] = {
    "num_turns": 2,
    "input_prompt_length": 100,
    "assistant_response_length": [10, 20],
    "tool_call_output_length": [5, 6],
    "tool_call_latency": [0.25, 4.0],
    "final_assistant_response_length": 30,
}


def test_prompts_grow_by_replies_and_results(tmp_path: Path) -> None:
    trace = load_jsonl(tmp_path, RUN)
    assert trace.format is TraceFormat.TRIE
    (program,) = trace.programs
    assert sizes(program) == [(100, 100, 10), (115, 5, 20), (141, 6, 30)]
    assert pauses(program) == [0.25, 4.0, 0.0]
    assert [turn.pause_kind for turn in program.turns] == [
        PauseKind.TOOL,
        PauseKind.TOOL,
        PauseKind.FINAL,
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tool_call_latency": [0.25]}, "the number of tool_call_latency is 1"),
        ({"tool_call_latency": [0.25, -1.0]}, "tool_call_latency[1] is -1.0"),
        ({"assistant_response_length": [1, 2.5]}, "assistant_response_length[1] is 2.5"),
        ({"input_prompt_length": None}, "input_prompt_length is null"),
    ],
)
def test_a_broken_line_names_line_and_field(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(TraceError) as error:
        load_jsonl(tmp_path, RUN, RUN | change)
    assert "line 2: " in str(error.value)
    assert says in str(error.value)
