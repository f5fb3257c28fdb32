"""The radix tree as far as leases need it."""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple, Protocol


class Prefix(NamedTuple):
    """Tokens that name a path of the tree, and the namespace they are in."""

    tokens: array[int]
    extra_key: str | None = None
    cache_salt: str | None = None


class Place(NamedTuple):
    """Where in the tree the KV of a turn ends.

    Attributes:
        length: tokens of `prefix` up to `node`, whole pages.
    """

    prefix: Prefix
    length: int
    node: Any


class Tree(Protocol):
    """What is done to the tree. A node is an opaque handle; a lock keeps its path to the root.

    Slots are where KV lies in memory, one per token: a sequence that slices can be taken of.
    """

    @property
    def page_size(self) -> int:
        """Tokens of a page."""

    def free_tokens(self) -> int:
        """Tokens of KV memory that hold nothing, or nothing that is locked."""

    def evictable_tokens(self) -> int:
        """Tokens in the tree that nothing locks."""

    def unused_tokens(self) -> int:
        """Tokens of KV memory that hold nothing: what is free but need not be evicted before."""

    def clear_tokens(self, tokens: int) -> None:
        """Evict what nothing locks until so many tokens hold nothing, as far as that goes."""

    def lock_path(self, node: Any) -> Any:
        """Lock the path to a node."""

    def unlock_path(self, lock: Any) -> None:
        """Give a lock back."""

    def node_at(self, prefix: Prefix, length: int) -> Any:
        """The node that ends at `length` tokens of a prefix which is there, splitting one if need
        be; `length` is a multiple of the page, and 0 names the root."""

    def fork(self, node: Any) -> int:
        """The last position of a path from which something else goes on than the path."""

    def take_out(self, prefix: Prefix, length: int, first: int, kept: int) -> Any:
        """Free the tokens of a path from `first` up to `kept`, and take the rest out of the tree.

        The path ends at `length`, nobody locks it behind `first`, and nothing forks off there.

        Returns:
            the slots of the tokens from `kept` on, which are the caller's now.
        """

    def put_back(self, prefix: Prefix, start: int, end: int, slots: Any) -> Any:
        """Give the tree the slots of the tokens from `start` up to `end` of a prefix.

        It has all tokens before `start`; of slots for tokens that it has as well it frees ours.

        Returns:
            the node that ends at `end`.
        """

    def free_slots(self, slots: Any) -> None:
        """Free slots that are not in the tree."""
