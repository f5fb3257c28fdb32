"""A model that replays the reference solutions: it checks the harness, not a model."""

from __future__ import annotations

from functools import partial

from agentrt.testing import Step, answer, call
from agentrt_tools.bench.replayed import ReplayedModel
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


class ReferenceModel(ReplayedModel[Entry]):
    """Replies with the steps of each entry.

    Nothing may be held back from it: `multi_turn_miss_func_49` calls a function before its time.

    Args:
        complete: see `reference_steps`.
    """

    def __init__(self, *, complete: bool) -> None:
        super().__init__(partial(reference_steps, complete=complete))
