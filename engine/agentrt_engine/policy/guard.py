"""`guard`, the default: idle KV yields only to higher priority, or when not worth its price.

    may_evict(j, turn) = ended(j) or key(j) later than key(turn) or value(j) < λ

key: the order of arrival, but for priorities that clients give; a subagent has the key of the
program that waits for it. Damage flows from later programs' turns to none before them, which is
what keeps a full engine from evicting everybody in turn (thrash). The rest is price:

    value(j) = cost(j)·rate(j)          GPU-seconds per token-second that keeping j's KV saves
    cost(j)  = c1 + c2·p                seconds to prefill its last token, at position p, again;
               with a copy in host memory at most λ·(seconds to bring the context back)
    rate(j)  = G(elapsed)               how soon it returns (`ToolDurations.return_rate`, or the
                                        client's `Expectation`), or
               1 / (a·(r + 1))          if its turn waits at rank r; a: mean gap between admissions
    λ                                   what a token-second of memory is worth to the batch
                                        (`MemoryPrice`)

Victims: ended programs first, then value < λ, the cheapest first, then the latest key; only as much
as needed, off the tail, or (`fronts`) off the front where that is sooner computed again. Gate: the
programs whose contexts fit the memory, in key order, are active; the others start no turn, so that
backfill cannot fill the engine with juniors while a senior waits.
Source: design of this project; see docs/policies.md for what each part brings.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from agentrt_engine.policy.base import BasePolicy, take
from agentrt_engine.policy.demand import Demand, rate_worth
from agentrt_engine.policy.durations import ToolDurations
from agentrt_engine.policy.learned import VERSION, check_version, field, positive
from agentrt_engine.policy.memory_price import MemoryPrice
from agentrt_engine.policy.output_length import OutputLength
from agentrt_engine.policy.program import Context, Lease, Phase, Program, Turn
from agentrt_engine.policy.protocol import Costs, EngineView, Gate, Rank, Victim

#: A waiting turn is looked at again after this long, because prices change by themselves.
RECHECK_S = 0.25

#: Assumed to pass before a transfer from host memory begins, seconds.
HOST_WAIT_S = 0.02

#: Weight of a new gap in the mean gap between admissions.
GAP_WEIGHT = 0.05

#: Tokens of the largest page.
MAX_PAGE = 1024

#: Shortest time that a waiting turn is assumed to wait, seconds.
LEAST_WAIT_S = 1e-9

#: Why contexts yield, the first ones first: their program ended, they are not worth their price,
#: their program is junior.
ENDED, CHEAP, JUNIOR = range(3)

#: The place of a context among those that yield: why, its value or its program's place among the
#: juniors, and its place in the order in which it was offered.
Place = tuple[int, float, int, Context]


class Guard(BasePolicy):
    """Priority-guarded, priced, gated.

    Args:
        headroom: share of the memory that stays free when a turn starts.
        newcomer: share on top of it when the turn's program holds nothing yet.
        price: factor on λ; 0 never evicts a senior.
        gate: whether there is one.
        fronts: whether contexts may lose their front instead of their tail.
    """

    name = "guard"
    backfill = 4
    recheck_s = RECHECK_S

    def __init__(
        self,
        headroom: float = 0.01,
        newcomer: float = 0.05,
        price: float = 1.0,
        gate: bool = True,
        fronts: bool = False,
    ) -> None:
        for name, share in (("headroom", headroom), ("newcomer", newcomer)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share}: expected a share from 0 to below 1")
        if price < 0:
            raise ValueError(f"price={price}: expected at least 0")
        self._headroom = headroom
        self._newcomer = newcomer
        self._price = MemoryPrice(price)
        self._gated = gate
        self.evicts_fronts = fronts
        self.durations = ToolDurations()
        self._demand = Demand(self)
        self._gate_key: float = math.inf
        self._prefill_costs = (0.0, 0.0)
        self._output = OutputLength()
        self._admitted_s: float | None = None
        self._admission_gap_s = 1.0

    def attach(self, costs: Costs) -> None:
        prefill = (costs.prefill_s, costs.position_s)
        if prefill != self._prefill_costs:  # no other matters to what was found about programs
            self._prefill_costs = prefill
            self._demand.reset()

    def key(self, program: Program) -> float:
        """Priority; the smallest goes first and is evicted last. A child has its root's."""
        key = self._demand.key(program)
        return self.new_key(program) if key is None else key

    def new_key(self, program: Program) -> float:
        """The key that a program gets when it starts, or when something is said of it."""
        return program.root.seniority

    def rank(self, now: float, turn: Turn) -> Rank:
        return (self.key(turn.program), turn.program.arrival)

    # Admission.

    def prepare(self, now: float, engine: EngineView) -> None:
        if self._gated and engine.running:
            self._demand.look_again(now, engine, self.price(now))

    def open_gate(self, now: float, engine: EngineView) -> None:
        if not self._gated:
            return
        room = float(max(engine.capacity_tokens, engine.host_tokens))
        price = self._lambda(now, engine)
        if engine.running and len(self._demand) == len(engine.programs):
            output = self._output.mean
            self._gate_key = self._demand.gate(now, engine, price, room, output)
        else:
            self._gate_key = self._gate_that_lets_in(now, engine, price, room)

    def _gate_that_lets_in(
        self, now: float, engine: EngineView, price: float, room: float
    ) -> float:
        """The key of the last active program, so that there is one that can start."""
        last = -math.inf
        lets_in = bool(engine.running)
        for program in sorted(engine.programs.values(), key=self.key):
            room -= self._weight(now, program, engine, price)
            if room < 0 and last > -math.inf and lets_in:
                return last
            last = self.key(program)
            lets_in = lets_in or program.phase is not Phase.PAUSED
        return math.inf

    def _weight(self, now: float, program: Program, engine: EngineView, price: float) -> float:
        """Tokens that an active program is going to need."""
        if program.phase is not Phase.PAUSED:
            return program.prompt_tokens + self._output.expected(program)
        value = self.factor(program, engine) * self.rate(now, program, engine)
        return program.context_tokens if value >= price else 0.0

    def factor(self, program: Program, engine: EngineView) -> float:
        """Seconds to prefill a token of a program's context again, in the mean."""
        costs = engine.costs
        return costs.prefill_s + costs.position_s * program.context_tokens / 2

    def last_token(self, program: Program, engine: EngineView) -> tuple[float, float]:
        """Seconds to prefill the last token of its KV again, at least and at most.

        The KV ends with the context, or a page later.
        """
        costs, length = engine.costs, program.context_tokens
        end = length + MAX_PAGE
        return costs.prefill_s + costs.position_s * length, (
            costs.prefill_s + costs.position_s * end
        )

    def admit(self, now: float, turn: Turn, engine: EngineView) -> Gate:
        return Gate.OPEN if self.key(turn.program) <= self._gate_key else Gate.CLOSED

    # Retention.

    def lease(self, now: float, program: Program, engine: EngineView) -> Lease | None:
        price = self._lambda(now, engine)
        costs = engine.costs
        cost = costs.prefill_s + costs.position_s * program.context_tokens
        until = now + self._time_to_live(now, program, engine, cost, price)
        return Lease(until, {"cost_s_per_token": cost, "price_per_s": price})

    def _time_to_live(
        self, now: float, program: Program, engine: EngineView, cost: float, price: float
    ) -> float:
        """Until the KV is not worth its price, and never beyond break-even, cost/λ."""
        if price <= 0:
            return math.inf
        break_even = cost / price
        floor = rate_worth(price, cost)
        if program.expected is not None:
            return min(program.expected.returns_at(floor), break_even)
        if program.tool is None or program.children:
            return break_even
        return min(self.durations.returns_at(program.tool, floor), break_even)

    def reserve(self, turn: Turn, engine: EngineView) -> int:
        if not engine.running:
            return 0
        share = self._headroom
        if not engine.context(turn.program).tokens:
            share += self._newcomer
        return int(share * engine.capacity_tokens)

    def willing(self) -> Collection[Program]:
        return self._demand.worthless.keys()

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
        running = turn in engine.running
        price = 0.0 if backfill else self._lambda(now, engine)
        key = self.key(turn.program)
        yielding: list[Place] = []
        # That do so in any case: when depends on what they are worth.
        unplaced: list[tuple[int, Context]] = []
        unsure: list[tuple[int, Context]] = []
        total = 0
        worth, worthless = self._sure(now, engine)
        for order, context in enumerate(idle):
            program = context.program
            senior = worth.get(program)
            if senior is None and (senior := worthless.get(program)) is not None and price > 0:
                unplaced.append((order, context))
                total += context.tokens
            elif senior is None:
                unsure.append((order, context))
            elif running or senior > key:
                yielding.append((JUNIOR, -senior, order, context))
                total += context.tokens
        enough = 0 if running else need + self.reserve(turn, engine)
        if need <= 0 and total >= enough:
            return []
        for order, context in unsure:
            owner = self._strongest(context)
            if owner is not None and owner.phase is not Phase.PAUSED and self.key(owner) > key:
                unplaced.append((order, context))
            else:
                place = self._place(now, order, context, owner, engine, price)
                if place[0] == JUNIOR and not running and -place[1] <= key:
                    continue
                yielding.append(place)
            total += context.tokens
        if total < enough:
            return None
        if need <= 0:
            return []
        for order, context in unplaced:
            owner = self._strongest(context)
            yielding.append(self._place(now, order, context, owner, engine, price))
        yielding.sort()
        victims = take([place[-1] for place in yielding], need)
        if self.evicts_fronts:
            victims = [_off_the_cheaper_end(victim, engine.costs) for victim in victims]
        for victim in victims:
            if victim.context.program is not None:
                self._demand.nibbled(victim.context.program)
        return victims

    def _sure(self, now: float, engine: EngineView) -> tuple[Mapping[Any, float], ...]:
        """Programs whose idle KV surely is worth the price, and surely is not, and their keys.

        That was found for the gate, with the mean cost of a token.
        """
        if not self._gated or not engine.running or engine.costs.host_s is not None:
            return {}, {}
        self._demand.settle(now, self.price(now))
        return self._demand.worth, self._demand.worthless

    def preempt(self, now: float, running: Collection[Turn]) -> Turn:
        return max(running, key=lambda turn: self.key(turn.program))

    def drop_host(self, now: float, copies: Collection[Context]) -> Context:
        def key(context: Context) -> float:
            owner = self._strongest(context)
            return math.inf if owner is None else self.key(owner)

        return max(copies, key=key)

    def _place(
        self,
        now: float,
        order: int,
        context: Context,
        owner: Program | None,
        engine: EngineView,
        price: float,
    ) -> Place:
        """Where a context of `owner` stands among those that yield, should it do so."""
        if owner is None:
            return ENDED, 0.0, order, context
        value = self._value(now, context, owner, engine, price)
        if value < price:
            return CHEAP, value, order, context
        return JUNIOR, -self.key(owner), order, context

    def _strongest(self, context: Context) -> Program | None:
        """The live program of the highest priority that uses a context."""
        if context.program is None:
            return min(context.users, key=self.key, default=None)
        return None if context.program.phase is Phase.ENDED else context.program

    def _value(
        self, now: float, context: Context, owner: Program, engine: EngineView, price: float
    ) -> float:
        """GPU-seconds that keeping one more token of a context saves per second."""
        costs = engine.costs
        cost = costs.prefill_s + costs.position_s * context.end
        if costs.host_s is not None and context.host_tokens >= context.tokens:
            # Bringing it back keeps the memory waiting, not the GPU.
            transfer_s = costs.host_s * context.tokens + HOST_WAIT_S
            cost = min(cost, price * transfer_s)
        return cost * self.rate(now, owner, engine)

    def rate(self, now: float, program: Program, engine: EngineView) -> float:
        """How soon a program's KV will be used again, 1/s."""
        if program.phase is not Phase.PAUSED:
            rank = 0 if program.phase is Phase.RUNNING else engine.position(program)
            return 1 / max(self._admission_gap_s * (rank + 1), LEAST_WAIT_S)
        if program.expected is not None:
            return program.expected.return_rate(program.paused_for(now))
        if program.children and (live := live_children(program)):
            return min(self.rate(now, child, engine) for child in live)
        if program.returns_s is not None:
            return 1 / max(program.returns_s - now, 1e-3)
        return self.durations.return_rate(program.tool or "", program.paused_for(now))

    def rate_bounds(
        self, now: float, program: Program, share: float, floor: float, ceiling: float
    ) -> tuple[float, float, float] | None:
        """Bounds of the rate of a paused program, and until when they hold; None without.

        Args:
            share, floor, ceiling: for how long they have to hold, see `Histogram.rate_bounds`.
        """
        elapsed = program.paused_for(now)
        if program.expected is not None:
            least, most, end = program.expected.rate_bounds(elapsed, share, floor, ceiling)
        elif program.returns_s is not None or (program.children and live_children(program)):
            return None
        else:
            tool = program.tool or ""
            least, most, end = self.durations.rate_bounds(tool, elapsed, share, floor, ceiling)
        return least, most, program.paused_s + end

    def tools_asked(self, program: Program) -> list[str]:
        """The tools whose statistics the rate of a program rests on."""
        if program.phase is not Phase.PAUSED or program.expected is not None:
            return []
        if program.children and (live := live_children(program)):
            return [tool for child in live for tool in self.tools_asked(child)]
        return [] if program.returns_s is not None else [program.tool or ""]

    # Price.

    def price(self, now: float) -> float:
        return self._price.mean

    def _lambda(self, now: float, engine: EngineView) -> float:
        """λ: what a token-second of memory is worth."""
        return self._price.mean if engine.running else self._price.when_idle(now)

    def stepped(
        self, now: float, seconds: float, running: float, kv_tokens: float, fixed: float
    ) -> None:
        self._price.stepped(now, seconds, running, kv_tokens, fixed)

    # Observations.

    def program_started(self, now: float, program: Program) -> None:
        self._demand.enter(program, self.new_key(program))
        if program.parent is not None:
            self._demand.changed(program.parent)

    def program_ended(self, now: float, program: Program) -> None:
        self._demand.leave(program)

    def hinted(self, now: float, program: Program) -> None:
        if self._demand.key(program) is None:
            return
        self._demand.enter(program, self.new_key(program))
        for child in live_children(program):
            self.hinted(now, child)

    def predict_pause(self, program: Program, quantile: float) -> float | None:
        if program.expected is not None:
            return program.expected.quantile(quantile)
        return self.durations.quantile(program.tool or "", quantile)

    def turn_started(self, now: float, turn: Turn, *, cached: bool) -> None:
        self._demand.changed(turn.program)
        if self._admitted_s is not None:
            gap = now - self._admitted_s
            self._admission_gap_s += GAP_WEIGHT * (gap - self._admission_gap_s)
        self._admitted_s = now

    def turn_ended(self, now: float, program: Program) -> None:
        self._demand.changed(program)
        self._output.observe(program)

    def tool_started(self, now: float, program: Program, tool: str) -> None:
        self._demand.changed(program)

    def pause_ended(self, now: float, program: Program) -> None:
        self._demand.changed(program)
        if program.tool is not None:
            self.durations.observe(program.tool, program.paused_for(now))

    def learned(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "durations": self.durations.snapshot(),
            "output_tokens": self._output.mean,
        }

    def recall(self, learned: Mapping[str, Any]) -> None:
        check_version(learned)
        durations = field(learned, "durations", ToolDurations.restore)
        self._output.recall(field(learned, "output_tokens", positive))
        self.durations = durations
        self._demand.reset()


def _off_the_cheaper_end(victim: Victim, costs: Costs) -> Victim:
    """The same number of tokens, off the end of the context that is sooner computed again.

    A new hole takes a step of its own. With a copy in host memory only tails come back.
    """
    context, tokens = victim.context, victim.tokens
    if context.program is None or tokens >= context.tokens or context.host_tokens:
        return victim
    front = context.start + context.hole
    step_s = 0.0 if context.hole else costs.fixed_s
    front_s = costs.prefill(front, front + tokens) + step_s
    tail_s = costs.prefill(context.end - tokens, context.end)
    return victim._replace(front=front_s < tail_s)


def live_children(program: Program) -> list[Program]:
    """The programs that a program waits for."""
    return [child for child in program.children if child.phase is not Phase.ENDED]
