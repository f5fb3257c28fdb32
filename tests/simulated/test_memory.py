"""KV memory under any order of turns, evictions and ends: no page is lost or given twice."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentrt_engine.policy import Program, Victim
from agentrt_engine.policy.base import least_recently_used, take
from agentrt_engine.simulated.memory import Hits, Holding, KvMemory, SharedKv, private_context
from agentrt_engine.simulated.shared_prefixes import Segment

PROGRAMS = 5
#: In pages: a trunk and two branches.
TRUNK, LEFT, RIGHT = (0, 2), (2, 3), (2, 5)
#: The whole shared front of each program's prompts.
FRONTS = ((), (TRUNK,), (TRUNK, LEFT), (TRUNK, LEFT), (TRUNK, RIGHT))


@dataclass(slots=True)
class Member:
    """A program and what the memory must think of it.

    Attributes:
        context: tokens of prompt and output of its last turn.
        length: tokens of the turn in the batch; None when there is none.
        decodes: its prompt is computed.
        hits: of that turn, when it started.
        resident: tokens of its idle tail.
    """

    front: tuple[Segment, ...]
    holding: Holding
    context: int = 0
    length: int | None = None
    decodes: bool = False
    hits: Hits = field(default_factory=lambda: Hits(0))
    resident: int = 0
    ended: bool = False


class MemoryMachine(RuleBasedStateMachine):
    """Everything an engine may do to a memory, in any order."""

    parks = False

    @initialize(page=st.sampled_from([1, 4]), pages=st.integers(8, 30))
    def build(self, page: int, pages: int) -> None:
        self.page = page
        self.memory = KvMemory(pages, page, self.parks)
        segments = {
            place: Segment(place[0] * page, place[1] * page) for place in (TRUNK, LEFT, RIGHT)
        }
        self.now = 0.0
        self.members = [
            Member(
                tuple(segments[place] for place in front),
                Holding(private_context(Program(f"p{index}", index, 0.0))),
            )
            for index, front in enumerate(FRONTS)
        ]

    members: list[Member]

    def some(self, number: int, *, running: bool) -> Member | None:
        found = [
            member
            for member in self.members
            if not member.ended and (member.length is not None) == running
        ]
        return found[number % len(found)] if found else None

    def pages(self, tokens: int) -> int:
        return -(-tokens // self.page)

    @rule(
        number=st.integers(0, 9),
        prompt=st.integers(1, 40),
        stale=st.one_of(st.just(0), st.integers(0, 40)),
    )
    def start(self, number: int, prompt: int, stale: int) -> None:
        member = self.some(number, running=False)
        if member is None:
            return
        self.now += 1.0
        memory, holding = self.memory, member.holding
        path = memory.path(segment for segment in member.front if segment.end <= prompt)
        reusable = max(0, min(member.context, prompt - 1) - stale)
        last = (prompt - 1) // self.page * self.page
        hits = memory.hits(holding, path, reusable)
        if hits.end > last:
            hits = Hits(last)
        assert hits.tokens <= member.resident + sum(shared.context.tokens for shared in path)
        if self.parks and path[: len(holding.path)] == holding.path:
            assert hits.end >= min(reusable // self.page * self.page, last)
        need = memory.needed(holding, path, hits, prompt + 1)
        own = {holding.context, *(shared.context for shared in path)}
        idle = [context for context in memory.idle if context not in own]
        victims = take(least_recently_used(idle), (need - memory.free) * self.page)
        if sum(victim.tokens for victim in victims) < (need - memory.free) * self.page:
            return
        for victim in victims:
            self.take_off(victim)
        memory.acquire(self.now, holding, path, hits, prompt)
        member.length, member.decodes, member.hits, member.resident = prompt, False, hits, 0

    @rule(number=st.integers(0, 9))
    def finish_prefill(self, number: int) -> None:
        member = self.some(number, running=True)
        if member is None or member.decodes or member.length is None:
            return
        self.memory.share(member.holding, member.length)
        member.decodes = True
        assert all(shared.context.tokens == shared.size for shared in member.holding.path)

    @rule(number=st.integers(0, 9), steps=st.integers(1, 20))
    def decode(self, number: int, steps: int) -> None:
        member = self.some(number, running=True)
        if member is None or not member.decodes or member.length is None:
            return
        more = self.pages(member.length + steps) - self.pages(member.length)
        if more > self.memory.free:
            return
        # An engine keeps these two by itself, for all turns of the batch together.
        self.memory.used += more
        member.holding.pages += more
        member.length += steps

    @rule(number=st.integers(0, 9))
    def leave(self, number: int) -> None:
        member = self.some(number, running=True)
        if member is None or not member.decodes or member.length is None:
            return
        self.now += 1.0
        self.memory.release(self.now, member.holding, member.length)
        front = sum(shared.size for shared in member.holding.path)
        member.resident = self.pages(member.length) * self.page - front
        member.context, member.length = member.length, None

    @rule(number=st.integers(0, 9), share=st.floats(0, 1))
    def leave_in_prefill(self, number: int, share: float) -> None:
        member = self.some(number, running=True)
        if member is None or member.decodes or member.length is None:
            return
        self.now += 1.0
        done = member.hits.end + round(share * (member.length - 1 - member.hits.end))
        kept = self.memory.shrink(member.holding, done)
        assert kept % self.page == 0
        self.memory.release(self.now, member.holding, kept)
        member.resident = member.holding.context.tokens
        assert member.resident <= self.pages(member.length) * self.page
        member.context, member.length = kept, None

    @precondition(lambda self: self.memory.idle)
    @rule(number=st.integers(0, 9), pages=st.integers(1, 6), front=st.booleans())
    def evict(self, number: int, pages: int, front: bool) -> None:
        idle = list(self.memory.idle)
        context = idle[number % len(idle)]
        tokens = min(context.tokens, pages * self.page)
        self.take_off(Victim(context, tokens, front=front and context.program is not None))

    def take_off(self, victim: Victim) -> None:
        owner = next((m for m in self.members if m.holding.context is victim.context), None)
        before = self.memory.free
        self.memory.evict(owner.holding if owner else None, victim)
        assert self.memory.free == before + victim.tokens // self.page
        if owner:
            owner.resident -= victim.tokens

    @rule(number=st.integers(0, 9), keep=st.booleans())
    def end(self, number: int, keep: bool) -> None:
        member = self.some(number, running=False)
        if member is None or sum(member.ended for member in self.members) == PROGRAMS - 2:
            return
        self.memory.forget(member.holding, keep=keep)
        member.ended = True
        if not keep or self.parks:
            member.resident = 0

    @invariant()
    def every_page_is_counted_once(self) -> None:
        self.memory.check(member.holding for member in self.members)

    @invariant()
    def an_idle_tail_is_what_was_left_less_what_was_evicted(self) -> None:
        for member in self.members:
            context = member.holding.context
            assert context.tokens == member.resident
            assert (context in self.memory.idle) == (context.tokens > 0 and not self.parks)
            assert context.tokens % self.page == context.start % self.page == 0

    @invariant()
    def a_segment_in_use_or_in_front_of_something_cannot_be_evicted(self) -> None:
        for member in self.members:
            for at, shared in enumerate(member.holding.path):
                used = member.length is not None
                behind = member.resident or any(
                    later.context.tokens for later in member.holding.path[at + 1 :]
                )
                if used or behind:
                    assert shared.context not in self.memory.idle
                if behind:
                    # Or what lies behind it could never be reached.
                    assert shared.context.tokens == shared.size or used

    @invariant()
    def the_users_of_a_segment_are_the_live_programs_that_begin_with_it(self) -> None:
        paths: dict[SharedKv, set[str]] = {}
        for member in self.members:
            for shared in member.holding.path:
                names = paths.setdefault(shared, set())
                if not member.ended and member.holding.context.program:
                    names.add(member.holding.context.program.program_id)
        for shared, names in paths.items():
            assert {user.program_id for user in shared.context.users} == names

    def teardown(self) -> None:
        """Once everything has left and is evicted, nothing is used."""
        if not hasattr(self, "memory"):
            return
        for member in self.members:
            if member.length is not None:
                if not member.decodes:
                    self.memory.share(member.holding, member.length)
                self.memory.release(self.now, member.holding, member.length)
                member.resident = member.holding.context.tokens
        while self.memory.idle:
            context = next(iter(self.memory.idle))
            self.take_off(Victim(context, context.tokens))
        assert self.memory.used == 0


class FreeRetentionMachine(MemoryMachine):
    """Idle KV costs nothing and is never lost."""

    parks = True

    @invariant()
    def nothing_is_evictable(self) -> None:
        assert not self.memory.idle


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestFreeRetention = FreeRetentionMachine.TestCase
TestFreeRetention.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_the_program_of_a_segment_that_another_computes_meanwhile_gives_its_copy_back() -> None:
    memory = KvMemory(pages=20, page=16)
    segment = Segment(0, 64)
    one, two = (Holding(private_context(Program(name, 0, 0.0))) for name in "ab")
    path = memory.path([segment])
    for holding in (one, two):
        memory.acquire(0.0, holding, path, Hits(0), 80)
    assert memory.used == 10
    memory.share(one, 80)
    memory.share(two, 80)
    assert memory.used == 4 + 1 + 1


def test_a_tail_without_its_front_leaves_a_hole_that_is_no_hit() -> None:
    memory = KvMemory(pages=20, page=16)
    holding = Holding(private_context(Program("a", 0, 0.0)))
    memory.acquire(0.0, holding, (), Hits(0), 96)
    memory.share(holding, 96)
    memory.release(1.0, holding, 96)
    memory.evict(holding, Victim(holding.context, 32, front=True))
    assert memory.hits(holding, (), 90) == Hits(80, hole_start=0, hole=32)
    assert memory.hits(holding, (), 90).tokens == 48
    assert memory.hits(holding, (), 30) == Hits(0)
    assert memory.free == 20 - 4
