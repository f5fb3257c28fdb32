"""Trajectories of mini-swe-agent 1.1 (`.traj.json`).

One JSON object with `messages`. A reply of the model has the provider's response with its usage
in `extra.response`, or is that response itself; `extra.timestamp` is the time when it arrived. An
observation's timestamp is the time when the command was done: the difference is the tool time.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from agentrt.errors import TraceError
from agentrt.replay.formats.contents import TraceContents
from agentrt.replay.formats.decoding import HINT, Count, Duration, PromptTokens, bad_value, decode
from agentrt.replay.formats.observed import ObservedProgram, ObservedTurn, records
from agentrt.replay.formats.source import Opening, TraceSource
from agentrt_engine.wire.trace import PauseKind, ToolRecord

FORMAT = "mini-swe-agent-1.1"
_AGENT = "mini-swe-agent"
#: The only tool of the agent.
_TOOL = "bash"
_SUFFIX = ".traj.json"


class _CachedTokens(msgspec.Struct):
    cached_tokens: Count | None = None


class _Usage(msgspec.Struct):
    """Usage in the words of chat completions, or of the Responses API."""

    prompt_tokens: PromptTokens | None = None
    completion_tokens: Count | None = None
    input_tokens: PromptTokens | None = None
    output_tokens: Count | None = None
    prompt_tokens_details: _CachedTokens | None = None


class _Response(msgspec.Struct):
    usage: _Usage | None = None


class _Extra(msgspec.Struct):
    timestamp: Duration | None = None
    response: _Response | None = None
    returncode: int | str | None = None


class _Message(msgspec.Struct):
    role: str | None = None
    object: str | None = None
    extra: _Extra = msgspec.field(default_factory=_Extra)
    usage: _Usage | None = None

    @property
    def is_reply(self) -> bool:
        """Whether the model wrote it."""
        return self.role == "assistant" or self.object == "response"

    @property
    def reply_usage(self) -> _Usage | None:
        """What the provider counted."""
        return self.extra.response.usage if self.extra.response is not None else self.usage


class _Trajectory(msgspec.Struct):
    messages: list[_Message]
    trajectory_format: str | None = None
    instance_id: str | None = None


_TRAJECTORY = msgspec.json.Decoder(_Trajectory)


def looks_like_mini_swe_agent(opening: Opening) -> bool:
    """A trajectory that names its format."""
    return (opening.text("trajectory_format") or "").startswith("mini-swe-agent-1")


def read_mini_swe_agent(source: TraceSource) -> TraceContents:
    """Each trajectory is a program; a file holds one."""
    programs = []
    for place, document in source.documents():
        trajectory = decode(_TRAJECTORY, document, place)
        if trajectory.trajectory_format != FORMAT:
            found = trajectory.trajectory_format
            raise bad_value(place, "trajectory_format", found, f'"{FORMAT}"')
        name = trajectory.instance_id or _stem(source.path)
        program = ObservedProgram(name, _AGENT, _turns(trajectory, place))
        if not program.turns:
            raise TraceError(f"{place} holds no reply of a model with its usage", hint=HINT)
        programs.append(program)
    # A trajectory does not say when its first request was made.
    return TraceContents([record for program in programs for record in records([program])])


def _turns(trajectory: _Trajectory, place: str) -> list[ObservedTurn]:
    turns: list[ObservedTurn] = []
    replied_s: float | None = None
    for index, message in enumerate(trajectory.messages):
        time = message.extra.timestamp
        if message.is_reply and (usage := message.reply_usage) is not None:
            turns.append(_turn(usage, message.extra, f"{place}, messages[{index}]"))
            replied_s = time
        elif turns and replied_s is not None and time is not None:
            _observe(turns[-1], max(0.0, round(time - replied_s, 6)), message)
    return turns


def _turn(usage: _Usage, extra: _Extra, place: str) -> ObservedTurn:
    prompt = usage.prompt_tokens if usage.prompt_tokens is not None else usage.input_tokens
    output = usage.completion_tokens if usage.completion_tokens is not None else usage.output_tokens
    if prompt is None or output is None:
        field = "prompt_tokens" if prompt is None else "completion_tokens"
        raise bad_value(place, f"usage.{field}", None, "a number of tokens")
    details = usage.prompt_tokens_details
    turn = ObservedTurn(prompt, output, end_s=extra.timestamp)
    turn.cached_tokens = None if details is None else details.cached_tokens
    return turn


def _observe(turn: ObservedTurn, seconds: float, message: _Message) -> None:
    """A message after the reply: the result of a command, or a complaint about the reply."""
    turn.pause_s = seconds
    if message.extra.returncode is None:
        turn.pause_kind = PauseKind.MIXED
    else:
        turn.tools.append(ToolRecord(_TOOL, seconds))


def _stem(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else Path(name).stem
