"""The KV of idle programs that the engine holds: locked in the tree until it yields.

A held context is locked up to a length. To take tokens off its tail the lock moves to a shorter
prefix; what lay behind becomes ordinary cache, which SGLang evicts when it needs the memory. What
two contexts share is nobody's own: a context counts only the tokens that its lock alone keeps,
and because others come and go that count is measured, not kept.

Tokens can be taken off the front of a context, too: off the first ones that are its own. What lies
behind the hole leaves the tree for the side store, and the lock keeps what lies before it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agentrt_engine.policy.program import Context, Program
from agentrt_engine.sglang.scheduler.side_store import Segment, SideStore
from agentrt_engine.sglang.scheduler.tree import Prefix, Tree


@dataclass(slots=True, eq=False)
class Held:
    """The lock on one program's idle KV.

    Attributes:
        owner: short name of the key its program came with.
        length: tokens of `prefix` that are locked; 0 where only the segment is left.
        segment: of the same prefix, what is kept behind a hole.
        pinned_until_s: a client asked to keep it until then.
        since_s, since_price: time, and the integral of the price over it, when it became idle.
    """

    program: Program
    owner: str
    prefix: Prefix
    length: int
    node: Any
    lock: Any
    context: Context
    segment: Segment | None = None
    pinned_until_s: float = 0.0
    since_s: float = 0.0
    since_price: float = 0.0

    @property
    def end(self) -> int:
        """Position behind its last token."""
        return self.length if self.segment is None else self.segment.end


class IdleKv:
    """Every held context, the one held for longest first.

    Args:
        fronts: contexts lose their fronts, so that nothing useless should fork off them.

    Attributes:
        side: what is kept behind holes, also while a turn computes the hole.
    """

    def __init__(self, tree: Tree, *, fronts: bool = False) -> None:
        self._tree = tree
        self._fronts = fronts
        self.side = SideStore(tree.free_slots)
        self._held: dict[Program, Held] = {}
        # In the order of arrival, but for the latest ones held, which nobody asked for yet.
        self._by_arrival: list[tuple[int, Held]] = []
        self._unplaced: dict[Program, Held] = {}
        # The one measured longest ago first.
        self._unmeasured: deque[Held] = deque()
        self._tokens: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held.values())

    def get(self, program: Program) -> Held | None:
        """What is held for a program."""
        return self._held.get(program)

    @property
    def tokens(self) -> int:
        """Tokens that a lock of one program alone keeps, as last measured."""
        return self._tokens.total()

    def tokens_of(self, owner: str) -> int:
        """Of them, those of one owner's programs."""
        return self._tokens[owner]

    def by_owner(self) -> dict[str, int]:
        """The same for every owner who holds something."""
        return {owner: tokens for owner, tokens in self._tokens.items() if tokens}

    def latest_arrivals(self) -> Iterator[Held]:
        """Every held context, that of the program that arrived last first."""
        for program, held in self._unplaced.items():
            insort(self._by_arrival, (program.arrival, held), key=_arrival)
        self._unplaced.clear()
        return (held for _arrival, held in reversed(self._by_arrival))

    def hold(self, program: Program, owner: str, prefix: Prefix, length: int, node: Any) -> Held:
        """Keep the KV of a program up to `node`, instead of what was kept for it before.

        No turn of the program may use it any more: what nobody else keeps is measured here.
        """
        self.release(program)
        lock, own = self._counted_lock(node)
        held = Held(program, owner, prefix, length, node, lock, Context(program, {}))
        self._held[program] = held
        self._note(held, own)
        self._unplaced[program] = held
        self._unmeasured.append(held)
        if len(self._unmeasured) > 2 * len(self._held) + 64:
            self._unmeasured = deque(self)
        return held

    def move(self, held: Held, prefix: Prefix, length: int, node: Any) -> None:
        """Keep another path for the same program: what of it its next prompt begins with."""
        if node == held.node:
            return
        self._tree.unlock_path(held.lock)
        lock, own = self._counted_lock(node)
        if self._fronts:
            self._drop_unlocked_end(held)
        held.prefix, held.length, held.node, held.lock = prefix, length, node, lock
        self._note(held, own)

    def release(self, program: Program, *, lend: Segment | None = None) -> bool:
        """Keep nothing for a program any longer; whether anything was kept.

        Args:
            lend: stays in the side store for a turn that computes the hole before it.
        """
        held = self._held.pop(program, None)
        if held is None:
            return False
        if self._unplaced.pop(program, None) is None:
            del self._by_arrival[bisect_left(self._by_arrival, program.arrival, key=_arrival)]
        self._tokens[held.owner] -= held.context.tokens
        self._tree.unlock_path(held.lock)
        if held.segment is not None and held.segment is not lend:
            self.side.drop(held.segment)
        return True

    def measure(self, held: Held) -> int:
        """Count anew how many tokens only this lock keeps."""
        self._tree.unlock_path(held.lock)
        held.lock, own = self._counted_lock(held.node)
        return self._note(held, own)

    def _counted_lock(self, node: Any) -> tuple[Any, int]:
        """Lock a path; the lock, and how many tokens no other one keeps."""
        before = self._tree.evictable_tokens()
        lock = self._tree.lock_path(node)
        return lock, before - self._tree.evictable_tokens()

    def _note(self, held: Held, in_tree: int) -> int:
        """So many tokens of a context are its own in the tree; with those behind its hole."""
        segment = held.segment
        behind = 0 if segment is None else segment.tokens
        self._tokens[held.owner] += in_tree + behind - held.context.tokens
        held.context.start = held.length - in_tree
        held.context.hole = 0 if segment is None else segment.start - held.length
        held.context.tokens = in_tree + behind
        return in_tree + behind

    def measure_some(self, most: int) -> bool:
        """Count so many anew, those measured longest ago; whether any was different."""
        changed = False
        for _ in range(min(most, len(self._unmeasured))):
            held = self._unmeasured.popleft()
            if self._held.get(held.program) is held:  # else it was released
                self._unmeasured.append(held)
                before = held.context.tokens
                changed |= self.measure(held) != before
        return changed

    def measure_all(self) -> bool:
        """Count all anew; whether any was different."""
        return self.measure_some(len(self._unmeasured))

    def trim(self, held: Held, tokens: int) -> int:
        """Take whole pages off the tail of a context, `tokens` or more; nothing may be left of it.

        Returns:
            tokens that nobody keeps any more.
        """
        # All of it goes, whatever of it is its own: no need to count that before.
        own = self.measure(held) if held.end - tokens >= self._tree.page_size else 0
        if tokens >= own:
            # What lies before it belongs to others as well, and they keep it.
            return self._let_go(held)
        freed = 0
        if held.segment is not None:
            freed = self.side.trim(held.segment, self._whole(tokens))
            self._settle(held)
        return freed + self._shorten(held, tokens - freed)

    def trim_front(self, held: Held, tokens: int) -> int:
        """Take whole pages off the front of a context, as `trim` off its tail.

        Where other paths fork off it the front that yields begins behind the last fork.
        """
        tokens = self._whole(tokens)
        own = self.measure(held)
        if tokens >= own:
            return self._let_go(held)
        if held.segment is None:
            first = max(held.context.start, self._tree.fork(held.node))
            if first + tokens >= held.length:  # nothing would be left behind the hole
                return self.trim(held, tokens)
            self.cut(held, first, first + tokens)
            return tokens
        # What the tree has of its own lies before the rest.
        freed = self._shorten(held, min(tokens, own - held.segment.tokens))
        freed += self.side.trim_front(held.segment, tokens - freed)
        self._settle(held)
        return freed

    def cut(self, held: Held, first: int, kept: int) -> None:
        """Free the tokens of a path from `first` up to `kept`.

        All of the path behind `first` is its own, nothing forks off there, and there is no hole.
        """
        self._tree.unlock_path(held.lock)
        slots = self._tree.take_out(held.prefix, held.length, first, kept)
        held.segment = self.side.put(held.prefix, kept, held.length, slots)
        self._lock(held, first)

    def fit(self, held: Held, prompt: Prefix, limit: int) -> None:
        """Of what lies behind a hole, keep what the next prompt begins with.

        Args:
            limit: of the prompt at most so many tokens count.
        """
        segment = held.segment
        if segment is None:
            return
        reach = segment.reach(prompt, limit) // self._tree.page_size * self._tree.page_size
        if reach < segment.end:
            self.side.trim(segment, segment.end - reach)
            self._settle(held)

    def fill(self, held: Held) -> Any:
        """The tree has all of the hole again: give it what lies behind; the node it ends at."""
        assert held.segment is not None
        node = self.put_back(held.segment)
        held.segment = None
        return node

    def put_back(self, segment: Segment) -> Any:
        """Give a segment to the tree, which has all tokens before it; the node it ends at."""
        slots = self.side.take(segment)
        return self._tree.put_back(segment.prefix, segment.start, segment.end, slots)

    def _shorten(self, held: Held, tokens: int) -> int:
        """Take whole pages off the end of what the tree has, and of its own only."""
        if tokens <= 0:
            return 0
        before = self._tree.evictable_tokens()
        left = (held.length - tokens) // self._tree.page_size * self._tree.page_size
        if left or held.segment is not None:
            self._tree.unlock_path(held.lock)
            self._lock(held, left)
        else:
            self.release(held.program)
        return self._tree.evictable_tokens() - before

    def _lock(self, held: Held, length: int) -> None:
        """Lock so much of its path; it has no lock."""
        held.node, held.length = self._tree.node_at(held.prefix, length), length
        held.lock, own = self._counted_lock(held.node)
        self._note(held, own)

    def _let_go(self, held: Held) -> int:
        """Take all of a context; tokens that nobody keeps any more."""
        behind = 0 if held.segment is None else held.segment.tokens
        before = self._tree.evictable_tokens()
        self.release(held.program)
        held.context.tokens = 0
        return self._tree.evictable_tokens() - before + behind

    def _settle(self, held: Held) -> None:
        """The segment is smaller, or gone."""
        if held.segment is not None and held.segment not in self.side:
            held.segment = None
        self.measure(held)

    def _drop_unlocked_end(self, held: Held) -> None:
        """Free what nobody keeps at the end of a path that is not locked any longer.

        It is of no use to its program, and would be a fork in the path that is held instead.
        """
        lock, unlocked = self._counted_lock(held.node)
        self._tree.unlock_path(lock)
        first = max(held.length - unlocked, self._tree.fork(held.node))
        if first < held.length:
            self._tree.take_out(held.prefix, held.length, first, held.length)

    def _whole(self, tokens: int) -> int:
        return -(-tokens // self._tree.page_size) * self._tree.page_size

    def forget_all(self) -> None:
        """The tree was emptied and its nodes are gone: there is nothing to unlock."""
        for held in self:
            held.context.tokens = 0
        for everything in (
            self._held,
            self._by_arrival,
            self._unplaced,
            self._unmeasured,
            self._tokens,
        ):
            everything.clear()
        self.side.forget_all()

    @contextmanager
    def unlocked(self) -> Iterator[None]:
        """While the block runs no lock of ours is in the tree, for SGLang's check of it."""
        for held in self:
            self._tree.unlock_path(held.lock)
        try:
            yield
        finally:
            for held in self:
                held.lock = self._tree.lock_path(held.node)


def _arrival(entry: tuple[int, Held]) -> int:
    return entry[0]
