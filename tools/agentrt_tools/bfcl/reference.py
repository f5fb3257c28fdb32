"""A model that replays the reference solutions: it checks the harness, not a model."""

from __future__ import annotations

from dataclasses import replace

from agentrt.testing import ModelRequest, ScriptedModel, Step, answer, call
from agentrt_tools.bench.tokens import TokenCounter
from agentrt_tools.bfcl.calls import parse
from agentrt_tools.bfcl.entries import Entry

#: What it says at the end of each turn of the user.
_DONE = "Done."


def reference_steps(entry: Entry, *, complete: bool = True) -> list[Step]:
    """Replies in order: the calls of each turn of the user, then an answer.

    Args:
        complete: False leaves the calls of the last turn that has any out, so that it has to fail.
    """
    if not entry.reference:
        said = entry.answers[0] if complete and entry.answers else _DONE
        return [answer(said) for _ in entry.turns]
    late = [each for turn in entry.turns for each in turn.added]
    functions = {each.name: each for each in (*entry.functions, *late)}
    last = max(at for at, calls in enumerate(entry.reference) if calls)
    steps: list[Step] = []
    for at, calls in enumerate(entry.reference):
        for source in calls if complete or at != last else ():
            name, arguments = parse(source, functions)
            steps.append(call(name, **arguments))
        steps.append(answer(_DONE))
    return steps


class ReferenceModel(ScriptedModel):
    """Replies to each program with the steps of its entry; tokens are counted, not computed.

    Nothing may be held back from it: `multi_turn_miss_func_49` calls a function before its time.

    Args:
        complete: see `reference_steps`.
    """

    def __init__(self, *, complete: bool) -> None:
        super().__init__(self._reply)
        self._complete = complete
        self._counter = TokenCounter()
        self._steps: dict[str, list[Step]] = {}

    def begins(self, program_id: str, entry: Entry) -> None:
        """A program begins that is of this entry."""
        self._steps[program_id] = reference_steps(entry, complete=self._complete)

    def _reply(self, asked: ModelRequest) -> Step:
        del self.requests[:]  # nobody reads them, and there are many
        step = self._steps[asked.program_id].pop(0)
        return replace(
            step,
            input_tokens=self._counter.prompt(asked.messages, asked.body.get("tools") or []),
            output_tokens=self._counter.text(step.text),
        )
