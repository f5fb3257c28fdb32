"""A radix tree by single pages: what `Tree` is to do, written to be read."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import count

from agentrt_engine.sglang.scheduler.tree import Place, Prefix

#: The tokens from the root to a node, whole pages, name it.
Node = tuple[int, ...]


class TokenTrie:
    """Every prefix that is there, and how many locks keep it.

    A page lies in one slot, which has a number of its own. It is in the tree, or somebody outside
    the tree keeps it, or it is free and its number never comes back.
    """

    def __init__(self, capacity: int, page_size: int = 1) -> None:
        self._capacity = capacity
        self.page_size = page_size
        self._there: dict[Node, int] = {}
        self._outside: set[int] = set()
        self._locks: Counter[Node] = Counter()
        self._next_slot = count()

    def free_tokens(self) -> int:
        locked = sum(1 for node in self._there if self._locks[node])
        return self._capacity - (locked + len(self._outside)) * self.page_size

    def evictable_tokens(self) -> int:
        return sum(1 for node in self._there if not self._locks[node]) * self.page_size

    def unused_tokens(self) -> int:
        return self.free_tokens() - self.evictable_tokens()

    def clear_tokens(self, tokens: int) -> None:
        self.evict(tokens - self.unused_tokens())

    def lock_path(self, node: Node) -> Node:
        assert not node or node in self._there, "a lock on what is not there"
        self._locks.update(self._path(node))
        return node

    def unlock_path(self, lock: Node) -> None:
        self._locks.subtract(self._path(lock))
        assert min(self._locks.values(), default=0) >= 0, "unlocked twice"

    def node_at(self, prefix: Prefix, length: int) -> Node:
        node = tuple(prefix.tokens[:length])
        assert (not node or node in self._there) and length % self.page_size == 0
        return node

    def fork(self, node: Node) -> int:
        ends = (end for end in range(len(node), 0, -self.page_size) if self._forks(node, end))
        return next(ends, 0)

    def take_out(self, prefix: Prefix, length: int, first: int, kept: int) -> list[int]:
        path = self._path(self.node_at(prefix, length))
        assert first % self.page_size == kept % self.page_size == 0
        slots = []
        for node in path:
            if len(node) > first:
                assert not self._locks[node], "somebody needs it"
                assert not self._forks(node, len(node), path[-1]), "something else goes on from it"
                if len(node) > kept:
                    slots.append(self._there[node])
        for node in path:
            if len(node) > first:
                del self._there[node]
        self._outside.update(slots)
        # One slot per token, as those who cut them into parts expect.
        return [slot for slot in slots for _ in range(self.page_size)]

    def put_back(self, prefix: Prefix, start: int, end: int, slots: list[int]) -> Node:
        node = self.node_at(prefix, start)
        page = self.page_size
        assert len(slots) == end - start, "a slot for each token"
        for at, slot in zip(range(start, end, page), slots[::page], strict=True):
            node = tuple(prefix.tokens[: at + page])
            self._outside.remove(slot)
            self._there.setdefault(node, slot)
        return node

    def free_slots(self, slots: list[int]) -> None:
        page = self.page_size
        assert len(slots) % page == 0
        for slot in slots[::page]:
            self._outside.remove(slot)

    # What a test does to it.

    @property
    def locked(self) -> int:
        """Tokens that some lock keeps, or somebody outside the tree."""
        return self._capacity - self.free_tokens()

    @property
    def outside(self) -> int:
        """Tokens that somebody outside the tree keeps."""
        return len(self._outside) * self.page_size

    def insert(self, tokens: Sequence[int]) -> Place:
        """A turn leaves its KV, whole pages."""
        length = len(tokens) // self.page_size * self.page_size
        node = tuple(tokens[:length])
        for each in self._path(node):
            if each not in self._there:
                self._there[each] = next(self._next_slot)
        return Place(Prefix(array("q", tokens)), length, node)

    def matched(self, tokens: Sequence[int]) -> Place:
        """How much of a prompt is there; its last token never counts."""
        length, page = 0, self.page_size
        while length + page < len(tokens) and tuple(tokens[: length + page]) in self._there:
            length += page
        return Place(Prefix(array("q", tokens)), length, tuple(tokens[:length]))

    def slots(self, tokens: Sequence[int]) -> list[int]:
        """The slots of the pages of a prefix that is there."""
        return [self._there[node] for node in self._path(tuple(tokens))]

    def evict(self, tokens: int) -> None:
        """Drop what nothing locks, the deepest first."""
        for node in sorted(self._there, key=len, reverse=True):
            if tokens <= 0:
                return
            if not self._locks[node]:
                del self._there[node]
                tokens -= self.page_size

    def check_locks(self, known: Sequence[Node]) -> None:
        """The locks in the tree are these and no others."""
        expected = Counter(node for lock in known for node in self._path(lock))
        assert +self._locks == expected, "a lock that nobody knows, or one given back twice"
        assert self._outside.isdisjoint(self._there.values()), "in the tree and outside"

    def clear(self) -> None:
        """Everything is gone, locks and all."""
        self._there.clear()
        self._outside.clear()
        self._locks.clear()

    def _path(self, node: Node) -> list[Node]:
        page = self.page_size
        return [node[:end] for end in range(page, len(node) + 1, page)]

    def _forks(self, node: Node, end: int, path: Node | None = None) -> bool:
        """Whether anything but a path goes on from `end`, a page at least."""
        here, path = node[:end], node if path is None else path
        following = path[: end + self.page_size]
        return any(
            len(other) == end + self.page_size and other[:end] == here and other != following
            for other in self._there
        )
