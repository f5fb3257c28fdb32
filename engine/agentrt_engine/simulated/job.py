"""A program in the simulation: its plan, its place in it, and its KV."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentrt_engine.outcome import ProgramOutcome
from agentrt_engine.policy.program import Program, Turn
from agentrt_engine.policy.protocol import Rank
from agentrt_engine.simulated.memory import Holding, SharedKv, private_context
from agentrt_engine.simulated.workload import ProgramPlan, TurnPlan


@dataclass(slots=True, eq=False)
class Job:
    """A program that has arrived or will.

    Attributes:
        turn_index: of the turn that waits or runs, or comes after the pause.
        turn: it, while it waits or runs.
        place: of the turn in the queue.
        path: the shared segments its prompt begins with.
        prompt: its prompt, with what it had generated if it was preempted.
        reusable: of the prompt, what was computed before.
        todo: of the prompt, the ranges of positions that are not in memory yet.
        loading: its copy is on the way from host memory.
        left: tokens to generate.
        ticket: its ticket in the decoding batch; 0 while it is not there.
        fixed_share: the ledger's running total when it began to decode.
        held_from_s, held_from_price: when its KV became idle, and the ledger's total then.
        awaits: children that run, and one for the pause itself.
        lost: KV of it was evicted since its last turn.
    """

    plan: ProgramPlan
    parent: Job | None
    program: Program
    outcome: ProgramOutcome
    holding: Holding
    turn_index: int = 0
    turn: Turn | None = None
    place: tuple[Rank, int] = ((), 0)
    path: tuple[SharedKv, ...] = ()
    prompt: int = 0
    reusable: int = 0
    todo: list[tuple[int, int]] = field(default_factory=list)
    loading: bool = False
    left: int = 0
    ticket: int = 0
    fixed_share: float = 0.0
    held_from_s: float = 0.0
    held_from_price: float = 0.0
    awaits: int = 0
    lost: bool = False

    @classmethod
    def of(cls, plan: ProgramPlan, parent: Job | None, program_id: str) -> Job:
        """A program before its first turn."""
        program = Program(program_id, 0, 0.0, plan.agent, max_turns=plan.max_turns)
        return cls(
            plan,
            parent,
            program,
            ProgramOutcome(
                program_id,
                plan.agent,
                0.0,
                parent_id=parent.program.program_id if parent else None,
            ),
            Holding(private_context(program)),
        )

    @property
    def planned(self) -> TurnPlan:
        """What the trace says of the turn."""
        return self.plan.turns[self.turn_index]

    @property
    def queued(self) -> Turn:
        """The turn that waits or runs."""
        assert self.turn is not None
        return self.turn
