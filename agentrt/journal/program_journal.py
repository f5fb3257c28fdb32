"""One program in the journal: what it did before, and what it does from now on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import pydantic_core

from agentrt.chat import ChatReply, Message
from agentrt.errors import JournalMismatch
from agentrt.journal.events import (
    Event,
    ProgramEnded,
    ToolEnded,
    ToolIntended,
    TurnEnded,
)
from agentrt.journal.past import Past
from agentrt.journal.store import Store
from agentrt.journal.values import pack
from agentrt.program import Program, ProgramState, ToolCall, ToolOutcome, Turn

_DIGEST_BYTES = 12


class ProgramJournal:
    """Answers from the past what it can, and records the rest.

    Without a store nothing is recorded and there is no past.

    Attributes:
        program_id: identity of the program, the same after a resumption.
        adapter: over the engine's model, the same after a resumption.
        past: what it did before.
    """

    def __init__(
        self,
        program_id: str,
        store: Store | None = None,
        past: Past | None = None,
        *,
        adapter: str | None = None,
    ) -> None:
        self.program_id = program_id
        self.adapter = adapter
        self.past = past or Past()
        self._store = store
        self._start_s = 0.0

    def began(self, now: float) -> float:
        """The program begins or goes on; returns when it began, had it never lain still."""
        self._start_s = now - self.past.elapsed_s
        return self._start_s

    # Turns.

    def past_turn(self, program: Program, messages: Sequence[Message]) -> TurnEnded | None:
        """The recorded answer to a request; None if there is none yet.

        Raises:
            JournalMismatch: another request was answered.
        """
        past = self.past.next_turn()
        if past is None:
            return None
        if past.asked != _digest(messages):
            raise JournalMismatch(
                f"request {program.turn + 1} of {program.label} is another than its journal has",
                hint="prompts, tools' results or the agent's code changed, or the agent does "
                "something by chance outside of its tools: begin a new run",
            )
        self.past.take_turn()
        return past

    def turn_ended(self, messages: Sequence[Message], reply: ChatReply, turn: Turn) -> None:
        """A request was answered."""
        if self._store is None:
            return
        self._store.append(
            TurnEnded(
                program=self.program_id,
                asked=_digest(messages),
                started_s=turn.started - self._start_s,
                ended_s=turn.ended - self._start_s,
                extends_previous=turn.extends_previous,
                text=reply.text,
                finish_reason=reply.finish_reason,
                input_tokens=reply.input_tokens,
                output_tokens=reply.output_tokens,
                cached_tokens=reply.cached_tokens,
                queue_s=reply.queue_s,
            )
        )

    def as_turn(self, past: TurnEnded) -> Turn:
        """A recorded answer as the program's record has it."""
        return Turn(
            started=self._start_s + past.started_s,
            ended=self._start_s + past.ended_s,
            input_tokens=past.input_tokens,
            output_tokens=past.output_tokens,
            cached_tokens=past.cached_tokens,
            queue_s=past.queue_s,
            extends_previous=past.extends_previous,
            finish_reason=past.finish_reason,
        )

    # Tool calls.

    def call_key(self, program: Program, name: str, arguments: Mapping[str, Any]) -> str:
        """To know a call again: after which turn, which tool, which arguments."""
        if self._store is None:
            return ""
        return f"{len(program.turns)}:{name}:{_digest(arguments)}"

    def call_begins(self, key: str, call_id: str, name: str) -> None:
        """A tool that changes something is about to start."""
        self._append(ToolIntended(self.program_id, key, call_id, name))

    def packed(self, value: Any, returns: Any) -> str | None:
        """What a tool returned as the journal can hold it, if it can and there is one."""
        return None if self._store is None else pack(value, returns)

    def call_ended(
        self, key: str, call_id: str, call: ToolCall, text: str, value: str | None = None
    ) -> None:
        """A tool call ended, and its result is known.

        Args:
            text: what the model is shown.
            value: what it returned, packed, if anybody needs it.
        """
        self._append(
            ToolEnded(
                program=self.program_id,
                key=key,
                call_id=call_id,
                name=call.name,
                outcome=call.outcome,
                started_s=call.started - self._start_s,
                ended_s=call.ended - self._start_s,
                text=text,
                waited_s=call.waited_s,
                attempts=call.attempts,
                value=value,
            )
        )

    def as_call(self, past: ToolEnded) -> ToolCall:
        """A recorded call as the program's record has it."""
        return ToolCall(
            name=past.name,
            started=self._start_s + past.started_s,
            ended=self._start_s + past.ended_s,
            outcome=past.outcome,
            error="" if past.outcome is ToolOutcome.FINISHED else past.text,
            waited_s=past.waited_s,
            attempts=past.attempts,
            call_id=past.call_id,
        )

    # The end.

    def ended(self, program: Program, returns: Any) -> None:
        """The program came to an end.

        Args:
            returns: type of what its agent returns.
        """
        if self._store is None or program.ended is None:
            return
        finished = program.state is ProgramState.FINISHED
        self._append(
            ProgramEnded(
                program=self.program_id,
                state=program.state,
                ended_s=program.ended - self._start_s,
                error=program.error,
                output=pack(program.output, returns) if finished else None,
            )
        )

    def relive(self, program: Program, output: Any) -> None:
        """Fill the record of a program that finished, without running it.

        Args:
            output: what its agent returned.
        """
        for deed in self.past.deeds:
            match deed:
                case TurnEnded():
                    program.begin_turn()
                    program.end_turn(self.as_turn(deed))
                case ToolEnded():
                    program.begin_tool(deed.name, deed.call_id, {})
                    program.end_tool(self.as_call(deed))
                case ProgramEnded():
                    ended = self._start_s + deed.ended_s
                    program.end(deed.state, ended, output=output, error=deed.error)

    def _append(self, event: Event) -> None:
        if self._store is not None:
            self._store.append(event)


def program_key(agent: str, arguments: Any) -> str:
    """To know a program again among those of the same parent: its agent and its input."""
    return f"{agent}:{_digest(arguments)}"


def _digest(value: Any) -> str:
    # What JSON does not know counts by its type: addresses in a repr would differ each time.
    body = pydantic_core.to_json(value, fallback=lambda other: type(other).__qualname__)
    return blake2b(body, digest_size=_DIGEST_BYTES).hexdigest()
