"""Defaults for every member of `Policy`: request FCFS and an LRU cache.

A policy subclasses this and overrides what it decides differently.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from agentrt_engine.policy.program import Context, Lease, Program, Turn
from agentrt_engine.policy.protocol import Costs, EngineView, Gate, Memory, Rank, Victim


class BasePolicy:
    """Requests first come first served; idle KV goes by least recent use.

    A policy that overrides `lease` or `reclaim` `retains`, unless it says that it does not.
    """

    name: ClassVar[str] = ""
    order_only: ClassVar[bool] = False
    retains: ClassVar[bool] = False
    evicts_fronts: bool = False
    ranks_are_fixed: ClassVar[bool] = True
    needs_hits: ClassVar[bool] = False
    knows_ends: ClassVar[bool] = True
    knows_future: ClassVar[bool] = False
    backfill: ClassVar[int] = 0
    recheck_s: ClassVar[float | None] = None
    memory: ClassVar[Memory] = Memory.REAL

    def __init_subclass__(cls) -> None:
        if "retains" not in vars(cls):
            cls.retains = (cls.lease, cls.reclaim) != (BasePolicy.lease, BasePolicy.reclaim)

    def attach(self, costs: Costs) -> None:
        pass

    def rank(self, now: float, turn: Turn) -> Rank:
        return (not turn.preempted, turn.queued_s, turn.program.arrival)

    def prepare(self, now: float, engine: EngineView) -> None:
        pass

    def open_gate(self, now: float, engine: EngineView) -> None:
        pass

    def admit(self, now: float, turn: Turn, engine: EngineView) -> Gate:
        return Gate.OPEN

    def lease(self, now: float, program: Program, engine: EngineView) -> Lease | None:
        return None

    def reserve(self, turn: Turn, engine: EngineView) -> int:
        return 0

    def willing(self) -> Collection[Program]:
        return ()

    def reclaim(
        self,
        now: float,
        turn: Turn,
        need: int,
        idle: Collection[Context],
        engine: EngineView,
        *,
        backfill: bool,
    ) -> list[Victim] | None:
        return take(least_recently_used(idle), need)

    def preempt(self, now: float, running: Collection[Turn]) -> Turn:
        return max(running, key=lambda turn: self.rank(now, turn))

    def drop_host(self, now: float, copies: Collection[Context]) -> Context:
        return min(copies, key=lambda context: context.used_s)

    def price(self, now: float) -> float:
        return 0.0

    def predict_pause(self, program: Program, quantile: float) -> float | None:
        return None

    def program_started(self, now: float, program: Program) -> None:
        pass

    def turn_started(self, now: float, turn: Turn, *, cached: bool) -> None:
        pass

    def turn_ended(self, now: float, program: Program) -> None:
        pass

    def tool_started(self, now: float, program: Program, tool: str) -> None:
        pass

    def pause_ended(self, now: float, program: Program) -> None:
        pass

    def program_ended(self, now: float, program: Program) -> None:
        pass

    def hinted(self, now: float, program: Program) -> None:
        pass

    def learned(self) -> dict[str, Any]:
        return {}

    def recall(self, learned: Mapping[str, Any]) -> None:
        pass

    def stepped(
        self, now: float, seconds: float, running: float, kv_tokens: float, fixed: float
    ) -> None:
        pass


def others_run(turn: Turn, engine: EngineView) -> bool:
    """Whether the batch holds a turn besides this one."""
    return any(running is not turn for running in engine.running)


def least_recently_used(idle: Collection[Context]) -> list[Context]:
    """Contexts, the one idle for longest first."""
    return sorted(idle, key=lambda context: context.used_s)


def take(contexts: Collection[Context], need: int) -> list[Victim]:
    """Tail tokens of contexts, in their order, until `need` is reached or they are used up."""
    taken = []
    for context in contexts:
        if need <= 0:
            break
        tokens = min(context.tokens, need)
        taken.append(Victim(context, tokens))
        need -= tokens
    return taken
