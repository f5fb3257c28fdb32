"""What an engine knows of a program, of a turn that waits, and of KV that lies idle.

An engine, simulated or real, keeps these records up to date; a policy only reads them.
Tokens are tokens, times are seconds on the engine's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from agentrt_engine.policy.expectation import Expectation

#: Positions in the order of arrival that one unit of priority is worth: more than programs arrive.
PRIORITY_STEP = 2.0**32


class Phase(Enum):
    """What a program is doing."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    #: Taken out of the batch to free memory; it waits to go on.
    PREEMPTED = "preempted"
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class Program:
    """One run of an agent.

    Attributes:
        arrival: position in the order in which programs first reached the engine.
        arrival_s: when it did.
        turns: turns that have ended.
        prompt_tokens, max_tokens: of the turn that waits or runs; `max_tokens` is what the
            client allows it to generate, None when it did not say.
        context_tokens: prompt and output of the turn before: the KV a pause may keep.
        previous_tokens: `context_tokens` when that turn began.
        output_tokens: that the turn before generated.
        served_tokens: prefilled and generated so far, hits not counted.
        paused_s: when its pause began.
        tool: what it waits for; None when that is not known.
        parent: the program that waits for it.
        children: programs it waits for.
        returns_s: when its next turn will come, where an oracle knows.
        max_turns: the most turns it will take, when somebody said so.
        remaining_s: engine seconds of work left, when somebody said so.
        priority: 0 is usual, higher goes first, when somebody said so. That of a child does not
            count: it has its root's.
        expected: of the present pause, when somebody said so.
    """

    program_id: str
    arrival: int
    arrival_s: float
    agent: str = ""
    phase: Phase = Phase.WAITING
    turns: int = 0
    prompt_tokens: int = 0
    max_tokens: int | None = None
    context_tokens: int = 0
    previous_tokens: int = 0
    output_tokens: int = 0
    served_tokens: int = 0
    paused_s: float = 0.0
    tool: str | None = None
    parent: Program | None = None
    children: tuple[Program, ...] = ()
    returns_s: float | None = None
    max_turns: int | None = None
    remaining_s: float | None = None
    priority: float = 0.0
    expected: Expectation | None = None

    @property
    def root(self) -> Program:
        """The program that waits in the end: itself if nobody waits for it."""
        program = self
        while program.parent is not None:
            program = program.parent
        return program

    @property
    def seniority(self) -> float:
        """Its place among programs, the smallest first: its arrival, but for priorities."""
        return self.arrival - self.root.priority * PRIORITY_STEP

    def paused_for(self, now: float) -> float:
        """Seconds that its pause has lasted."""
        return max(0.0, now - self.paused_s)


@dataclass(slots=True, eq=False)
class Turn:
    """A request of a program that waits or runs.

    Attributes:
        queued_s: when it entered the queue.
        prompt_tokens: its whole prompt, with what it had generated if it was preempted.
        hit_tokens: of them in memory now; kept up to date while it waits only for policies
            that rank by it.
        evicted: KV of its program had been evicted when it came back.
        preempted: it ran already and was taken out to free memory.
    """

    program: Program
    queued_s: float
    prompt_tokens: int
    hit_tokens: int = 0
    evicted: bool = False
    preempted: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """Protection of a program's idle KV.

    Attributes:
        until_s: when it expires.
        why: the numbers it was made from, by name.
    """

    until_s: float
    why: dict[str, float]


@dataclass(slots=True, eq=False)
class Context:
    """A run of idle KV, evictable from its tail.

    Attributes:
        program: whose it is; None for a prefix that several programs share.
        users: for a shared prefix, the live programs whose contexts begin with it.
        start: position of its first token.
        hole: evicted from `start` on, before the resident ones.
        tokens: resident behind that, whole pages.
        host_tokens: of them with a copy in host memory.
        used_s: when a turn last used it.
        lease: its protection, None when it has none.
    """

    program: Program | None
    users: dict[Program, None]
    start: int = 0
    hole: int = 0
    tokens: int = 0
    host_tokens: int = 0
    used_s: float = 0.0
    lease: Lease | None = None

    @property
    def end(self) -> int:
        """Position behind its last resident token."""
        return self.start + self.hole + self.tokens

    def leased(self, now: float) -> bool:
        """Whether a lease protects it."""
        return self.lease is not None and self.lease.until_s > now
