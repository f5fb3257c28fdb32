"""trie: lengths of prompts, replies and tool results of one agent run per line.

Every request appends to the prompt of the one before, so that a prompt is the first one plus all
replies and tool results since. Latencies are seconds.
"""

from __future__ import annotations

import msgspec

from agentrt.replay.formats.contents import TraceContents
from agentrt.replay.formats.decoding import Count, Duration, PromptTokens, bad_value, decode
from agentrt.replay.formats.observed import UNNAMED_TOOL, ObservedProgram, ObservedTurn, records
from agentrt.replay.formats.source import Opening, TraceSource
from agentrt_engine.wire.trace import ToolRecord

_AGENT = "trie"


class _Run(msgspec.Struct):
    input_prompt_length: PromptTokens
    num_turns: Count
    assistant_response_length: list[Count]
    tool_call_output_length: list[Count]
    tool_call_latency: list[Duration]
    final_assistant_response_length: Count | None = None


_RUN = msgspec.json.Decoder(_Run)


def looks_like_trie(opening: Opening) -> bool:
    """The lengths by their names."""
    return {"input_prompt_length", "tool_call_latency"} <= opening.first.keys()


def read_trie(source: TraceSource) -> TraceContents:
    """Each line is a program: `num_turns` turns with a tool call, and the final one."""
    programs = []
    for number, line in source.lines():
        place = source.place(number)
        run = decode(_RUN, line, place)
        _check_lengths(run, place)
        programs.append(ObservedProgram(f"line-{number}", _AGENT, _turns(run, place)))
    return TraceContents(records(programs))


def _check_lengths(run: _Run, place: str) -> None:
    for field in ("assistant_response_length", "tool_call_output_length", "tool_call_latency"):
        length = len(getattr(run, field))
        if length != run.num_turns:
            expected = f"num_turns, {run.num_turns}"
            raise bad_value(place, f"the number of {field}", length, expected)


def _turns(run: _Run, place: str) -> list[ObservedTurn]:
    turns = []
    prompt = run.input_prompt_length
    for reply, result, seconds in zip(
        run.assistant_response_length,
        run.tool_call_output_length,
        run.tool_call_latency,
        strict=True,
    ):
        tools = [ToolRecord(UNNAMED_TOOL, seconds)]
        turns.append(ObservedTurn(prompt, reply, pause_s=seconds, tools=tools))
        prompt += reply + result
    if run.final_assistant_response_length is not None:
        turns.append(ObservedTurn(prompt, run.final_assistant_response_length))
    if not turns:
        raise bad_value(place, "num_turns", run.num_turns, "a turn, or a final response")
    return turns
