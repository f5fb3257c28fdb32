"""A radix tree by single tokens: what `Tree` is to do, written to be read."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

from agentrt_engine.sglang.scheduler.tree import Place, Prefix

#: The tokens from the root to a node name it.
Node = tuple[int, ...]


class TokenTrie:
    """Every prefix that is there, and how many locks keep it."""

    def __init__(self, capacity: int, page_size: int = 1) -> None:
        self._capacity = capacity
        self.page_size = page_size
        self._there: set[Node] = set()
        self._locks: Counter[Node] = Counter()

    def free_tokens(self) -> int:
        return self._capacity - sum(1 for node in self._there if self._locks[node])

    def evictable_tokens(self) -> int:
        return sum(1 for node in self._there if not self._locks[node])

    def lock_path(self, node: Node) -> Node:
        assert node in self._there, "a lock on what is not there"
        self._locks.update(_path(node))
        return node

    def unlock_path(self, lock: Node) -> None:
        self._locks.subtract(_path(lock))
        assert min(self._locks.values(), default=0) >= 0, "unlocked twice"

    def node_at(self, prefix: Prefix, length: int) -> Node:
        node = tuple(prefix.tokens[:length])
        assert node in self._there and length % self.page_size == 0
        return node

    # What a test does to it.

    @property
    def locked(self) -> int:
        """Tokens that some lock keeps."""
        return self._capacity - self.free_tokens()

    def insert(self, tokens: Sequence[int]) -> Place:
        """A turn leaves its KV, whole pages."""
        length = len(tokens) // self.page_size * self.page_size
        node = tuple(tokens[:length])
        self._there.update(_path(node))
        return Place(Prefix(array("q", tokens)), length, node)

    def matched(self, tokens: Sequence[int]) -> Place:
        """How much of a prompt is there; its last token never counts."""
        length = 0
        while length + 1 < len(tokens) and tuple(tokens[: length + 1]) in self._there:
            length += 1
        length -= length % self.page_size
        return Place(Prefix(array("q", tokens)), length, tuple(tokens[:length]))

    def evict(self, tokens: int) -> None:
        """Drop what nothing locks, the deepest first."""
        for node in sorted(self._there, key=len, reverse=True):
            if tokens <= 0:
                return
            if not self._locks[node]:
                self._there.remove(node)
                tokens -= 1

    def check_locks(self, known: Sequence[Node]) -> None:
        """The locks in the tree are these and no others."""
        expected = Counter(node for lock in known for node in _path(lock))
        assert +self._locks == expected, "a lock that nobody knows, or one given back twice"

    def clear(self) -> None:
        """Everything is gone, locks and all."""
        self._there.clear()
        self._locks.clear()


def _path(node: Node) -> list[Node]:
    return [node[:end] for end in range(1, len(node) + 1)]
