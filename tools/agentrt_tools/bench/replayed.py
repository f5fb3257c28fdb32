"""A model that replays what is known to be right: it checks a harness, not a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from agentrt.testing import ModelRequest, ScriptedModel, Step
from agentrt_tools.bench.tokens import TokenCounter

E = TypeVar("E")


class ReplayedModel(ScriptedModel, Generic[E]):
    """Replies to each program with the steps of its entry; tokens are counted, not computed.

    Args:
        steps: replies in order, of an entry.
    """

    def __init__(self, steps: Callable[[E], Iterable[Step]]) -> None:
        super().__init__(self._reply)
        self._steps_of = steps
        self._counter = TokenCounter()
        self._steps: dict[str, Iterator[Step]] = {}

    def begins(self, program_id: str, entry: E) -> None:
        """A program begins that is of this entry."""
        self._steps[program_id] = iter(self._steps_of(entry))

    def _reply(self, asked: ModelRequest) -> Step:
        del self.requests[:]  # nobody reads them, and there are many
        step = next(self._steps[asked.program_id])
        return replace(
            step,
            input_tokens=self._counter.prompt(asked.messages, asked.body.get("tools") or []),
            output_tokens=self._counter.text(step.text),
        )
