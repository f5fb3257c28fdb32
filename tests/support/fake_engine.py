"""An engine as a policy sees it, made of values that a test sets."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from agentrt_engine.policy import Context, Costs, Phase, Program, Turn

#: Round numbers: a token at position p costs 0.001 + 0.000001·p seconds.
COSTS = Costs(fixed_s=0.01, decode_s=0.0, prefill_s=1e-3, position_s=1e-6)


@dataclass(slots=True)
class FakeEngine:
    """An `EngineView`.

    Attributes:
        queue: programs that wait, in order.
    """

    capacity_tokens: int = 1000
    free_tokens: int = 0
    host_tokens: int = 0
    costs: Costs = COSTS
    looks: float = math.inf
    programs: Mapping[str, Program] = field(default_factory=dict)
    running: Collection[Turn] = ()
    queue: list[Program] = field(default_factory=list)
    contexts: dict[Program, Context] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        return len(self.queue)

    def position(self, program: Program) -> int:
        return self.queue.index(program)

    def context(self, program: Program) -> Context:
        return self.contexts.get(program) or Context(program, {})


def program(
    arrival: int,
    phase: Phase = Phase.PAUSED,
    *,
    prompt: int = 100,
    context: int = 100,
    tool: str = "bash",
    paused_s: float = 0.0,
) -> Program:
    """A program named after its arrival."""
    return Program(
        f"p{arrival}",
        arrival,
        float(arrival),
        phase=phase,
        prompt_tokens=prompt,
        context_tokens=context,
        tool=tool,
        paused_s=paused_s,
    )


def turn(of: Program) -> Turn:
    """The turn that a program waits with or runs."""
    return Turn(of, 0.0, of.prompt_tokens)


def idle(of: Program, tokens: int = 100, *, used_s: float = 0.0) -> Context:
    """A program's idle KV."""
    return Context(of, {}, tokens=tokens, used_s=used_s)


def programs(*members: Program) -> dict[str, Program]:
    """Live programs by name, in the order of their arrival."""
    return {member.program_id: member for member in members}
