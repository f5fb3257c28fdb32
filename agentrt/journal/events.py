"""What a journal holds, one event after the other.

Times are seconds since the program began, without the time that it lay still between a crash and
its resumption.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agentrt.chat import ChatReply
from agentrt.program import ProgramState, ToolOutcome


class RunBegan(msgspec.Struct, tag="run", tag_field="event", frozen=True, omit_defaults=True):
    """The first event of every journal.

    Attributes:
        created: UTC, ISO 8601.
        target: FILE.py:AGENT of `agentrt run`; empty where a Python program opened the journal.
        inputs: arguments of every program that was asked for, as JSON objects.
        settings: what the engine was to be, by the names of the options of `agentrt run`.
    """

    created: str
    target: str = ""
    inputs: list[dict[str, Any]] = []
    settings: dict[str, str | int] = {}


class RunResumed(msgspec.Struct, tag="resumed", tag_field="event", frozen=True):
    """Another process goes on."""

    created: str


class ProgramBegan(
    msgspec.Struct, tag="program", tag_field="event", frozen=True, omit_defaults=True
):
    """A program began.

    Attributes:
        key: of agent and arguments, to know the program again.
    """

    program: str
    agent: str
    key: str
    parent: str | None = None
    adapter: str | None = None


class TurnEnded(msgspec.Struct, tag="turn", tag_field="event", frozen=True, omit_defaults=True):
    """A model request was answered.

    Attributes:
        asked: digest of the messages that the model was sent.
        text: the reply, verbatim. The rest is as in `ChatReply` and `Turn`.
    """

    program: str
    asked: str
    started_s: float
    ended_s: float
    extends_previous: bool
    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None
    queue_s: float | None = None

    def reply(self) -> ChatReply:
        """The reply as it came."""
        return ChatReply(
            response_id="",
            model="",
            text=self.text,
            finish_reason=self.finish_reason,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            queue_s=self.queue_s,
        )


class ToolIntended(msgspec.Struct, tag="intent", tag_field="event", frozen=True):
    """A tool that changes something is about to start.

    Attributes:
        key: of the call: after which turn, which tool, which arguments.
    """

    program: str
    key: str
    call_id: str
    name: str


class ToolEnded(msgspec.Struct, tag="tool", tag_field="event", frozen=True, omit_defaults=True):
    """A tool call ended, with what the model is shown.

    Attributes:
        value: what it returned, as JSON, where the agent's own code called it and JSON can say it.
    """

    program: str
    key: str
    call_id: str
    name: str
    outcome: ToolOutcome
    started_s: float
    ended_s: float
    text: str
    waited_s: float = 0.0
    attempts: int = 1
    value: str | None = None


class ProgramEnded(msgspec.Struct, tag="end", tag_field="event", frozen=True, omit_defaults=True):
    """A program came to an end; only a finished one is over for good.

    Attributes:
        output: what the agent returned, as JSON, where JSON can say it.
    """

    program: str
    state: ProgramState
    ended_s: float
    error: str = ""
    output: str | None = None


Event = RunBegan | RunResumed | ProgramBegan | TurnEnded | ToolIntended | ToolEnded | ProgramEnded

_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """As one line of JSON."""
    return msgspec.json.encode(event)


def decode(body: bytes) -> Event:
    """The event.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decoder.decode(body)
