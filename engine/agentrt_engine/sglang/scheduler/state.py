"""What the scheduler's half of the plug-in knows; the view of it that policies get."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from agentrt_engine.policy import Context, Costs, Policy, Program, Turn
from agentrt_engine.sglang.flag import IDLE_S, LEASE_SHARE
from agentrt_engine.sglang.scheduler.idle_kv import IdleKv
from agentrt_engine.sglang.scheduler.programs import Live, LiveTurn, ProgramTable
from agentrt_engine.sglang.scheduler.tree import Tree
from agentrt_engine.wire.programs import Totals

#: Programs that a policy may look at anew at once: a scheduler step has little time.
LOOKS = 16.0

#: Priorities lie between its negative and it.
MAX_PRIORITY = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What leases are bounded by.

    Attributes:
        lease_share: share of the KV memory that leases may hold in all.
        keys: API keys that share it evenly.
        pin_s: longest pin a client may ask for.
        idle_s: a program that pauses for longer has ended.
    """

    lease_share: float = LEASE_SHARE
    keys: int = 1
    pin_s: float = 300.0
    idle_s: float = IDLE_S

    def priority(self, asked: float) -> float:
        """The priority a client gets. With several keys nobody gets before programs of others."""
        return min(max(asked, -MAX_PRIORITY), MAX_PRIORITY if self.keys <= 1 else 0.0)


class State:
    """Programs, turns and idle KV; an `EngineView` for the policy.

    Attributes:
        now: time of rank 0, seconds; moves only between scheduler steps.
        running, queued: the turns in the batch, those that wait.
        changed: something happened that may let a waiting turn start.
        turnover: a turn left the batch since the last tick: one may start in this step.
        ranks_version: grows when ranks that are fixed otherwise may be others.
    """

    def __init__(
        self, policy: Policy, tree: Tree, capacity_tokens: int, costs: Costs, limits: Limits
    ) -> None:
        self.policy = policy
        self.tree = tree
        self.limits = limits
        self.now = 0.0
        self.started_s = 0.0
        self.table = ProgramTable()
        self.idle = IdleKv(tree, fronts=policy.evicts_fronts)
        self.in_batch: dict[Turn, LiveTurn] = {}
        self.queued: dict[LiveTurn, None] = {}
        self.changed = False
        self.turnover = False
        self.totals = Totals()
        self._capacity = capacity_tokens
        self._costs = costs
        self.ranks_version = 0
        self._order: Callable[[], Iterable[LiveTurn]] = tuple
        self._positions: dict[Program, int] | None = None

    # What a policy may ask.

    @property
    def capacity_tokens(self) -> int:
        return self._capacity

    @property
    def host_tokens(self) -> int:
        return 0

    @property
    def free_tokens(self) -> int:
        return self.tree.free_tokens()

    @property
    def costs(self) -> Costs:
        return self._costs

    @property
    def looks(self) -> float:
        return LOOKS

    @property
    def programs(self) -> Mapping[str, Program]:
        return self.table.programs

    @property
    def running(self) -> Collection[Turn]:
        return self.in_batch.keys()

    @property
    def waiting(self) -> int:
        return len(self.queued)

    def position(self, program: Program) -> int:
        if self._positions is None:
            self._positions = {turn.turn.program: at for at, turn in enumerate(self._order())}
        return self._positions.get(program, len(self.queued))

    def context(self, program: Program) -> Context:
        held = self.idle.get(program)
        return Context(program, {}) if held is None else held.context

    # What the rest of the scheduler's half does.

    def measured(self, costs: Costs) -> None:
        """The engine's steps cost this."""
        self._costs = costs
        self.policy.attach(costs)

    def ordered(self, order: Callable[[], Iterable[LiveTurn]]) -> None:
        """How to list the waiting turns in the order of the queue, should anybody ask."""
        self._order, self._positions = order, None

    def told(self, program: Program) -> None:
        """Somebody said something of a live program that its rank may depend on."""
        self.policy.hinted(self.now, program)
        self.ranks_version += 1

    @property
    def lease_tokens(self) -> float:
        """Tokens that the leases of one key may hold."""
        return self.limits.lease_share * self._capacity / max(1, self.limits.keys)

    def live(self, program: Program) -> Live:
        """What is kept of a live program."""
        return self.table.of(program)

    def count(self, counts: dict[str, int], name: str, by: int = 1) -> None:
        """Add to one of the counters of `totals`."""
        counts[name] = counts.get(name, 0) + by
