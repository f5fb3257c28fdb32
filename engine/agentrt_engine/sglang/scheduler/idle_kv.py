"""The KV of idle programs that the engine holds: locked in the tree until it yields.

A held context is locked up to a length. To take tokens off its tail the lock moves to a shorter
prefix; what lay behind becomes ordinary cache, which SGLang evicts when it needs the memory. What
two contexts share is nobody's own: a context counts only the tokens that its lock alone keeps,
and because others come and go that count is measured, not kept.
"""

from __future__ import annotations

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
        return sum(held.context.tokens for held in self)

    def hold(self, program: Program, owner: str, prefix: Prefix, length: int, node: Any) -> Held:
        """Keep the KV of a program up to `node`, instead of what was kept for it before.

        Its tokens are to be measured once nobody else uses them: see `measure`.
        """
        lock = self._tree.lock_path(node)
        self.release(program)
        held = Held(program, owner, prefix, length, node, lock, Context(program, {}))
        self._held[program] = held
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
        self._tree.unlock_path(held.lock)
        return True

    def measure(self, held: Held) -> int:
        """Count anew how many tokens only this lock keeps."""
        before = self._tree.evictable_tokens()
        self._tree.unlock_path(held.lock)
        tokens = self._tree.evictable_tokens() - before
        held.lock = self._tree.lock_path(held.node)
        held.context.start = held.length - tokens
        held.context.tokens = tokens
        return tokens

    def measure_all(self) -> bool:
        """Count all anew; whether anything was different."""
        changed = False
        for held in self:
            before = held.context.tokens
            changed |= self.measure(held) != before
        return changed

    def trim(self, held: Held, tokens: int) -> int:
        """Take whole pages off the tail of a context, `tokens` or more; nothing may be left of it.

        Returns:
            tokens that nobody keeps any more.
        """
        page = self._tree.page_size
        own = self.measure(held)
        before = self._tree.evictable_tokens()
        left = (held.length - tokens) // page * page
        if tokens >= own or left <= 0:
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
        self._held.clear()

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
