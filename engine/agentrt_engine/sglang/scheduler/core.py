"""The scheduler's half of the plug-in, put together."""

from __future__ import annotations

from agentrt_engine.errors import SettingError
from agentrt_engine.policy import Policy
from agentrt_engine.sglang.scheduler.hints import Hints
from agentrt_engine.sglang.scheduler.leases import Leases
from agentrt_engine.sglang.scheduler.lifecycle import Lifecycle
from agentrt_engine.sglang.scheduler.meter import Meter
from agentrt_engine.sglang.scheduler.room import Room
from agentrt_engine.sglang.scheduler.rounds import Rounds
from agentrt_engine.sglang.scheduler.snapshot import snapshot
from agentrt_engine.sglang.scheduler.state import Limits, State
from agentrt_engine.sglang.scheduler.tree import Tree
from agentrt_engine.step_costs import StepCosts
from agentrt_engine.wire.control import LEARNED_VERSION, Learned, SnapshotRequest
from agentrt_engine.wire.programs import EngineSnapshot

#: Steps between two looks at paused programs and at what steps cost: at least so many, and then in
#: the next step that makes memory for a turn anyway, so that few steps take longer than the others.
PREPARE_EVERY = 8

#: After so many steps both are due; later while every step has a turn that ends or starts, which is
#: work enough.
PREPARE_DUE = 16
PREPARE_AT_LAST = 64

#: The policy is told what the engine did at least that often, seconds of work.
TELL_S = 0.25


class ProgramScheduler:
    """Programs, their leases and their order, for one scheduler process.

    Decisions depend on what is reported here and on nothing else, so tensor-parallel ranks that
    are told the same decide the same.

    Args:
        capacity_tokens: KV memory.
        costs: what steps are thought to cost before any was measured.
    """

    def __init__(
        self,
        policy: Policy,
        tree: Tree,
        *,
        capacity_tokens: int,
        costs: StepCosts,
        limits: Limits,
    ) -> None:
        policy.attach(costs.costs())
        self.policy = policy
        self.state = State(policy, tree, capacity_tokens, costs.costs(), limits)
        self.meter = Meter(self.state, costs)
        self.room = Room(self.state, self.meter)
        leases = Leases(self.state, self.room, self.meter)
        self.lifecycle = Lifecycle(self.state, leases, self.meter)
        self.room.before_asking(self.lifecycle.begin_pauses)
        self.rounds = Rounds(self.state, self.room, self.meter)
        self.hints = Hints(self.state, self.lifecycle, leases, self.room)
        self.lifecycle.when_paused(self.hints.paused)
        self._steps = 0
        # A turn ended or started since memory was made for the next one.
        self._turned_over = False

    def tick(self, now: float) -> None:
        """The time of rank 0, seconds, before anything else in a scheduler step."""
        state = self.state
        if not state.started_s:
            state.started_s = state.now = now
        # What follows on a prefill takes SGLang as long as what precedes one.
        hurry = self.meter.ticked(now) or state.turnover
        state.turnover = False
        self.lifecycle.advance(now, hurry=hurry)
        self._turned_over |= hurry
        self._steps += 1
        due = self._steps >= (PREPARE_AT_LAST if hurry else PREPARE_DUE)
        if due or (self._turned_over and not hurry):
            self._turned_over = False
            if self._steps >= PREPARE_EVERY:
                self._steps = 0
                self.meter.tell()
                self.policy.prepare(state.now, state)
            self.room.ahead()
        elif self.meter.untold_s > TELL_S:
            self.meter.tell()

    def snapshot(self, asked: SnapshotRequest, max_running: int) -> EngineSnapshot:
        """The engine now."""
        self.lifecycle.begin_pauses()
        return snapshot(self.state, asked, max_running)

    def learned(self) -> Learned:
        """What policy and cost model have learned."""
        self.meter.tell()
        data = {"policy": self.policy.learned(), "costs": self.meter.costs.snapshot()}
        return Learned(LEARNED_VERSION, self.policy.name, data)

    def recall(self, learned: Learned) -> None:
        """Go on from what was learned before.

        Raises:
            SettingError: it is damaged, or of another version or policy.
        """
        if learned.version != LEARNED_VERSION:
            raise SettingError(
                f"learned statistics of version {learned.version}: expected {LEARNED_VERSION}"
            )
        if learned.policy != self.policy.name:
            raise SettingError(
                f"learned statistics of policy {learned.policy!r}: this engine runs "
                f"{self.policy.name!r}"
            )
        self.policy.recall(learned.data.get("policy", {}))
        if "costs" in learned.data:
            self.meter.restore(learned.data["costs"])
