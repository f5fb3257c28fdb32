"""Which step answers which request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentrt.testing.steps import Step


class Script:
    """Steps in the order of the requests, or in a list for each program.

    Lists go to programs in the order in which they make their first request.
    """

    def __init__(self, steps: Iterable[Step | Sequence[Step]] = ()) -> None:
        self._shared: list[Step] = []
        self._unassigned: list[list[Step]] = []
        self._of_program: dict[str, list[Step]] = {}
        self.add(steps)

    def add(self, steps: Iterable[Step | Sequence[Step]]) -> None:
        """More of them, at the end."""
        for step in steps:
            if isinstance(step, Step):
                self._shared.append(step)
            else:
                self._unassigned.append(list(step))

    def take(self, program_id: str) -> Step | None:
        """The step for the next request of a program; None if there is none."""
        if program_id not in self._of_program and self._unassigned:
            self._of_program[program_id] = self._unassigned.pop(0)
        steps = self._of_program.get(program_id, self._shared)
        return steps.pop(0) if steps else None

    @property
    def left(self) -> list[Step]:
        """Steps that no request has taken yet."""
        lists = [self._shared, *self._unassigned, *self._of_program.values()]
        return [step for steps in lists for step in steps]
