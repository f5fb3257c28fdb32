"""Making room: who of the idle yields, decided by the policy, carried out on the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice, takewhile

from agentrt_engine.policy import Context, Program, Turn, Victim
from agentrt_engine.sglang.scheduler.idle_kv import Held
from agentrt_engine.sglang.scheduler.meter import Meter
from agentrt_engine.sglang.scheduler.programs import Live
from agentrt_engine.sglang.scheduler.state import State

#: How often the policy is asked again because less came free than it thought.
ATTEMPTS = 4

#: Contexts measured anew at a refusal while something runs; each takes 5 µs.
MEASURED = 8

#: With many idle contexts a policy is offered those that it is willing to take, those held for
#: longest, those of the programs that arrived last, and others, another time other ones: of each
#: kind at least so many, and as many as hold what is needed if the first ones do not.
OFFERED = 8

#: All of them are offered at most so often while something runs, seconds per context. To ask about
#: one takes 3 µs.
ALL_EVERY_S = 4e-3

#: Contexts that yield ahead of a need at once.
AHEAD = 16

#: Turns that needed more free memory than the last one count less with every further turn.
FORGET = 15 / 16

#: Decode steps that room is made for at once.
GROWTH_STEPS = 16

#: Room made ahead is for so many times that growth, and is made again once it is for less than one,
#: so that it lasts until the next time.
AT_ONCE = 2


class Cause(StrEnum):
    """Why idle KV yielded."""

    ADMISSION = "admission"
    #: It yields to anybody, and turns wait.
    AHEAD = "ahead"
    DECODE = "decode"
    BUDGET = "budget"
    #: The policy gave nothing although nothing ran.
    FORCED = "forced"
    DEMOTED = "demoted"


class Room:
    """Takes memory from idle programs."""

    def __init__(self, state: State, meter: Meter) -> None:
        self._state = state
        self._meter = meter
        self._before_asking: Callable[[], None] = lambda: None
        self._prefilling = False
        self._all_again_s = 0.0
        # How many contexts were offered that were at neither end.
        self._passed = 0
        # Free tokens with which the latest turns had not had to ask for more, and what the last one
        # that started had to compute.
        self._enough = 0.0
        self._computed = 0

    def before_asking(self, do: Callable[[], None]) -> None:
        """Call this whenever the policy is going to be asked who yields."""
        self._before_asking = do

    def for_turn(self, turn: Turn, need: int, *, backfill: bool) -> bool:
        """Free `need` tokens so that a waiting turn can start; whether they are free."""
        return self._ask(turn, need, Cause.ADMISSION, backfill=backfill)

    def short_of(self, tokens: int) -> None:
        """A turn that may start lacks so many free tokens; negative if there are more."""
        enough = self._state.tree.free_tokens() + tokens
        self._enough = enough + FORGET * max(0.0, self._enough - enough)

    def started(self, computed: int) -> None:
        """A turn started that has to compute so many tokens of its prompt."""
        self._computed = computed

    def ahead(self) -> None:
        """Between rounds: what yields to anybody does so before a turn needs it.

        The step in which a turn starts has the least time, to decide and to evict. What yields
        stays in the tree for whoever comes back for it, but for as much as the next turn is going
        to compute, if it is like the last one. Both with some for the growth of the batch.
        """
        state, tree = self._state, self._state.tree
        if not state.policy.retains or not state.queued or not state.in_batch:
            return
        growth, free = self._growth(), tree.free_tokens()
        if free < self._enough + growth:
            turn = next(iter(state.in_batch))
            need = _whole(int(self._enough) + AT_ONCE * growth - free, tree.page_size)
            offered = self._evictable(turn, islice(self._willing(), AHEAD))
            yielded = state.policy.reclaim(state.now, turn, need, offered, state, backfill=False)
            self._take_from(yielded or (), need, Cause.AHEAD)
        if tree.unused_tokens() < self._computed + growth:
            tree.clear_tokens(self._computed + AT_ONCE * growth)

    def for_batch(self, missing: int) -> None:
        """Free what the batch needs to go on, as far as the policy gives it.

        A batch of one turn gets everything, since nothing else could ever free it, and so does a
        prefill, which SGLang cannot take back.
        """
        state = self._state
        before = state.tree.free_tokens()
        if state.in_batch:
            first = min(state.in_batch, key=lambda turn: state.policy.rank(state.now, turn))
            self._ask(first, missing + self._growth(), Cause.DECODE, backfill=False)
        left = missing - (state.tree.free_tokens() - before)
        if left > 0 and (self._prefilling or len(state.in_batch) <= 1):
            self.by_force(left)

    def _growth(self) -> int:
        """What the batch takes until room is made for it again, beyond one step's need."""
        state = self._state
        return len(state.in_batch) * _whole(GROWTH_STEPS - 1, state.tree.page_size)

    @contextmanager
    def prefilling(self) -> Iterator[None]:
        """Memory that is asked for meanwhile is for prefills."""
        self._prefilling = True
        try:
            yield
        finally:
            self._prefilling = False

    def by_force(self, need: int) -> None:
        """Free `need` tokens whatever the policy says, the context idle for longest first."""
        state = self._state
        for held in sorted(state.idle, key=lambda held: held.context.used_s):
            if need <= 0:
                return
            need -= self._take(held, need, Cause.FORCED)

    def release(self, live: Live, cause: Cause) -> int:
        """Free all that is held for a program."""
        held = self._state.idle.get(live.program)
        return 0 if held is None else self._take(held, held.end, cause)

    def over_budget(self, owner: str, newest: Program) -> None:
        """Leases of one key may hold its share: what is beyond it goes, the latest arrival first.

        A program never pushes out one that arrived before it.
        """
        state = self._state
        excess = state.idle.tokens_of(owner) - int(state.lease_tokens)
        if excess <= 0:
            return
        arrivals = state.idle.latest_arrivals()
        for held in list(takewhile(lambda held: held.program.arrival >= newest.arrival, arrivals)):
            if excess <= 0:
                return
            if held.owner == owner:
                excess -= self._take(held, excess, Cause.BUDGET)

    def _ask(self, turn: Turn, need: int, cause: Cause, *, backfill: bool) -> bool:
        """Ask the policy who yields, and take it; whether `need` tokens came free.

        With many idle contexts it is first offered some, and all only if those do not do.
        """
        self._before_asking()
        state = self._state
        for attempt in range(ATTEMPTS):
            some = attempt == 0 and len(state.idle) > 2 * OFFERED
            wanted = need + state.policy.reserve(turn, state)
            offered = self._evictable(turn, self._some_of_the_idle(wanted) if some else state.idle)
            yielded = state.policy.reclaim(
                state.now,
                turn,
                _whole(need, state.tree.page_size),
                offered,
                state,
                backfill=backfill,
            )
            enough = yielded is not None and sum(victim.tokens for victim in yielded) >= need
            if not enough and attempt < ATTEMPTS - 1 and self._worth_another(some=some):
                continue
            if yielded is None or (not enough and cause is Cause.ADMISSION):
                return False
            need = self._take_from(yielded, need, cause)
            if need <= 0:
                return True
            if not yielded:
                return False
        return False

    def _worth_another(self, *, some: bool) -> bool:
        """Whether the policy may answer otherwise: it saw some only, or counts were wrong."""
        state = self._state
        idle = state.idle
        changed = idle.measure_some(MEASURED) if state.in_batch else idle.measure_all()
        return (some or changed) and self._time_for_all()

    def _time_for_all(self) -> bool:
        """Whether all contexts may be looked at: a thousand of them take milliseconds."""
        state = self._state
        if len(state.idle) <= 2 * OFFERED or not state.in_batch:
            return True
        if state.now < self._all_again_s:
            return False
        self._all_again_s = state.now + ALL_EVERY_S * len(state.idle)
        return True

    def _some_of_the_idle(self, tokens: int) -> Iterable[Held]:
        """The willing, those held for longest, those of the latest programs, others in turn."""
        idle = self._state.idle
        chosen = dict.fromkeys(_that_hold(tokens, self._willing()))
        if sum(held.context.tokens for held in chosen) >= tokens:
            tokens = 0
        chosen |= dict.fromkeys(_that_hold(tokens, idle))
        chosen |= dict.fromkeys(_that_hold(tokens, idle.latest_arrivals()))
        others = _that_hold(tokens, islice(idle, self._passed % len(idle), None))
        self._passed = self._passed % len(idle) + len(others)
        return chosen | dict.fromkeys(others)

    def _willing(self) -> Iterator[Held]:
        """What is held of programs whose KV yields to anybody."""
        return filter(None, map(self._state.idle.get, self._state.policy.willing()))

    def _evictable(self, turn: Turn, among: Iterable[Held]) -> list[Context]:
        now, own = self._state.now, turn.program
        pinned_too = not self._state.in_batch
        return [
            held.context
            for held in among
            if held.program is not own
            and held.context.tokens
            and (pinned_too or held.pinned_until_s <= now)
        ]

    def _take_from(self, victims: Iterable[Victim], need: int, cause: Cause) -> int:
        """Take what the policy gives, in its order, as far as needed; tokens still needed."""
        for victim in victims:
            program = victim.context.program
            held = None if program is None else self._state.idle.get(program)
            if held is not None and need > 0:
                tokens = min(victim.tokens, need)
                need -= self._take(held, tokens, cause, front=victim.front)
        return need

    def _take(self, held: Held, tokens: int, cause: Cause, *, front: bool = False) -> int:
        state = self._state
        live = state.live(held.program)
        take = state.idle.trim_front if front else state.idle.trim
        freed = take(held, tokens)
        if freed:
            self._meter.let_go(held, freed)
            live.lost = True
            live.account.lost_tokens += freed
            state.totals.account.lost_tokens += freed
            state.count(state.totals.reclaims, cause)
            state.count(state.totals.reclaimed_tokens, cause, freed)
        return freed


def _that_hold(tokens: int, contexts: Iterable[Held]) -> list[Held]:
    """The first ones that hold so many tokens, but at least `OFFERED`."""
    chosen: list[Held] = []
    found = 0
    for held in contexts:
        if found >= tokens and len(chosen) >= OFFERED:
            break
        chosen.append(held)
        found += held.context.tokens
    return chosen


def _whole(tokens: int, page: int) -> int:
    return -(-tokens // page) * page
