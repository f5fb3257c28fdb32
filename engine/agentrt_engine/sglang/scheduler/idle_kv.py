"""The KV of idle programs that the engine holds: locked in the tree until it yields.

A held context is locked up to a length. To take tokens off its tail the lock moves to a shorter
prefix; what lay behind becomes ordinary cache, which SGLang evicts when it needs the memory. What
two contexts share is nobody's own: a context counts only the tokens that its lock alone keeps,
and because others come and go that count is measured, not kept.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agentrt_engine.policy.program import Context, Program
from agentrt_engine.sglang.scheduler.tree import Prefix, Tree


@dataclass(slots=True, eq=False)
class Held:
    """The lock on one program's idle KV.

    Attributes:
        owner: short name of the key its program came with.
        length: tokens of `prefix` that are locked.
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
    pinned_until_s: float = 0.0
    since_s: float = 0.0
    since_price: float = 0.0


class IdleKv:
    """Every held context, the one held for longest first."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._held: dict[Program, Held] = {}
        # In the order of arrival.
        self._by_arrival: list[tuple[int, Held]] = []
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
        return (held for _arrival, held in reversed(self._by_arrival))

    def hold(self, program: Program, owner: str, prefix: Prefix, length: int, node: Any) -> Held:
        """Keep the KV of a program up to `node`, instead of what was kept for it before.

        Its tokens are to be measured once nobody else uses them: see `measure`.
        """
        lock = self._tree.lock_path(node)
        self.release(program)
        held = Held(program, owner, prefix, length, node, lock, Context(program, {}))
        self._held[program] = held
        insort(self._by_arrival, (program.arrival, held), key=_arrival)
        self._unmeasured.append(held)
        if len(self._unmeasured) > 2 * len(self._held) + 64:
            self._unmeasured = deque(self)
        return held

    def move(self, held: Held, prefix: Prefix, length: int, node: Any) -> None:
        """Keep another path for the same program: what of it its next prompt begins with."""
        if node == held.node:
            return
        lock = self._tree.lock_path(node)
        self._tree.unlock_path(held.lock)
        held.prefix, held.length, held.node, held.lock = prefix, length, node, lock
        self.measure(held)

    def release(self, program: Program) -> bool:
        """Keep nothing for a program any longer; whether anything was kept."""
        held = self._held.pop(program, None)
        if held is None:
            return False
        del self._by_arrival[bisect_left(self._by_arrival, program.arrival, key=_arrival)]
        self._tokens[held.owner] -= held.context.tokens
        self._tree.unlock_path(held.lock)
        return True

    def measure(self, held: Held) -> int:
        """Count anew how many tokens only this lock keeps."""
        before = self._tree.evictable_tokens()
        self._tree.unlock_path(held.lock)
        tokens = self._tree.evictable_tokens() - before
        held.lock = self._tree.lock_path(held.node)
        self._tokens[held.owner] += tokens - held.context.tokens
        held.context.start = held.length - tokens
        held.context.tokens = tokens
        return tokens

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
        page = self._tree.page_size
        left = (held.length - tokens) // page * page
        # All of it goes, whatever of it is its own: no need to count that before.
        own = self.measure(held) if left > 0 else 0
        before = self._tree.evictable_tokens()
        if tokens >= own:
            # What lies before it belongs to others as well, and they keep it.
            self.release(held.program)
            held.context.tokens = 0
        else:
            self.move(held, held.prefix, left, self._tree.node_at(held.prefix, left))
        return self._tree.evictable_tokens() - before

    def forget_all(self) -> None:
        """The tree was emptied and its nodes are gone: there is nothing to unlock."""
        for held in self:
            held.context.tokens = 0
        for everything in (self._held, self._by_arrival, self._unmeasured, self._tokens):
            everything.clear()

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
