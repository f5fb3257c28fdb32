"""A program that has come to a live engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

import anyio

from agentrt.replay.live.alone import Work
from agentrt_engine.outcome import ProgramOutcome
from agentrt_engine.simulated.workload import ProgramPlan
from agentrt_engine.wire.identity import ProgramTag

#: Characters of a program's own id in its id on the wire.
_ID_LENGTH = 160


@dataclass(slots=True, eq=False)
class Arrived:
    """The program, until it ends.

    Attributes:
        index: into the outcomes of the run.
        wire_id: its id on the wire, which no other program of any run has.
        context: prompt and output of its last turn.
        hinting: held while a hint of it is sent: they go one after the other, in order.
    """

    plan: ProgramPlan
    index: int
    wire_id: str
    outcome: ProgramOutcome
    parent: Arrived | None
    work: Work = field(default_factory=Work)
    context: list[int] = field(default_factory=list)
    hinting: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def name(self) -> str:
        """Its id in results."""
        return self.outcome.program_id

    def tag(self, turn: int) -> ProgramTag:
        """What a request says of its program."""
        parent = self.parent.wire_id if self.parent else None
        return ProgramTag(self.wire_id, parent, final=turn == len(self.plan.turns) - 1)


def wire_id(name: str, index: int, run: str) -> str:
    """An id that any header can carry, for a program of any name.

    Args:
        run: what no other run has.
    """
    return f"{quote(name, safe='/:~')[:_ID_LENGTH]}.{index}.{run}"
