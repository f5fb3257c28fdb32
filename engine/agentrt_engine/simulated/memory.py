"""KV memory in pages: what turns hold, what lies idle, what is shared.

A program's KV is the shared segments its prompt begins with and one private tail. A segment
stays as long as a turn is using it (`locks`) or something resident lies behind it (`holders`);
everything else is idle and can be evicted, from the tail.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from agentrt_engine.policy.program import Context, Program
from agentrt_engine.policy.protocol import Victim
from agentrt_engine.simulated.shared_prefixes import Segment

#: Users of a private context: nobody but its program.
_NOBODY: dict[Program, None] = {}


@dataclass(slots=True, eq=False)
class SharedKv:
    """The KV of one segment.

    Attributes:
        locks: turns in the batch that use it.
        holders: resident segments and idle private tails right behind it.
        computed: some turn has computed all of it before.
    """

    segment: Segment
    parent: SharedKv | None
    context: Context
    locks: int = 0
    holders: int = 0
    computed: bool = False

    @property
    def size(self) -> int:
        return self.segment.end - self.segment.start


@dataclass(slots=True, eq=False)
class Holding:
    """The KV of one program.

    Attributes:
        context: its private tail; `context.tokens` counts while the tail is idle.
        path: the shared segments before it.
        pages: private pages of its turn in the batch when the turn entered it.
    """

    context: Context
    path: tuple[SharedKv, ...] = ()
    pages: int = 0


def private_context(program: Program) -> Context:
    """An empty private tail."""
    return Context(program, _NOBODY)


class Hits(NamedTuple):
    """What of a prompt is in memory: up to `end`, but for a hole of that size at `hole_start`."""

    end: int
    hole_start: int = 0
    hole: int = 0

    @property
    def tokens(self) -> int:
        return self.end - self.hole


@dataclass(slots=True)
class KvMemory:
    """Pages of KV memory.

    Args:
        pages: capacity.
        page: tokens of a page.
        parks: idle KV costs no memory and is never lost (the bound `free retention`).
    """

    pages: int
    page: int
    parks: bool = False
    used: int = 0
    idle: dict[Context, None] = field(default_factory=dict)
    _shared: dict[Segment, SharedKv] = field(default_factory=dict)
    _shared_of: dict[Context, SharedKv] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Pages that hold nothing."""
        return self.pages - self.used

    def path(self, segments: Iterable[Segment]) -> tuple[SharedKv, ...]:
        """The KV of a prompt's shared segments, front first."""
        found: list[SharedKv] = []
        for segment in segments:
            shared = self._shared.get(segment)
            if shared is None:
                context = Context(None, {}, start=segment.start)
                shared = SharedKv(segment, found[-1] if found else None, context)
                self._shared[segment] = shared
                self._shared_of[context] = shared
            found.append(shared)
        return tuple(found)

    def hits(self, holding: Holding, path: tuple[SharedKv, ...], reusable: int) -> Hits:
        """What of a prompt is in memory, whole pages.

        Args:
            path: the shared segments the prompt begins with.
            reusable: tokens of the turn before that the prompt begins with.
        """
        found = 0
        for shared in path:
            found += shared.context.tokens
            if shared.context.tokens < shared.size:
                break
        tail = holding.context
        if tail.tokens and _begins_with(path, holding.path):
            end = min(tail.end, reusable) // self.page * self.page
            if end - tail.hole > found:
                return Hits(end, tail.start, tail.hole)
        return Hits(found // self.page * self.page)

    def discard_useless(self, holding: Holding, path: tuple[SharedKv, ...]) -> int:
        """Free a program's tail if its next prompt does not begin with what lies before it.

        Returns:
            tokens of it.
        """
        tokens = holding.context.tokens
        if not tokens or _begins_with(path, holding.path):
            return 0
        self._drop_tail(holding)
        return tokens

    def computed(self, path: tuple[SharedKv, ...]) -> int:
        """Up to where the shared segments of a prompt were computed before, there or not."""
        end = 0
        for shared in path:
            if not shared.computed:
                break
            end = shared.segment.end
        return end

    def host_hits(self, holding: Holding, path: tuple[SharedKv, ...], reusable: int) -> int:
        """Up to where a prompt is in memory or has a copy in host memory, whole pages."""
        found = 0
        for shared in path:
            there = max(shared.context.tokens, shared.context.host_tokens)
            found += there
            if there < shared.size:
                return found // self.page * self.page
        tail = holding.context
        if tail.host_tokens and _begins_with(path, holding.path):
            found = max(found, min(tail.start + tail.host_tokens, reusable))
        return found // self.page * self.page

    def needed(self, holding: Holding, path: tuple[SharedKv, ...], hits: Hits, tokens: int) -> int:
        """Pages that must be free for a turn of `tokens` tokens with `hits` of them in memory.

        The pages of the program's own tail count as free: what it holds beyond the hits goes.
        """
        pages = -(-tokens // self.page)
        if self.parks:
            locked = (shared.context.tokens for shared in path if shared.locks)
            return pages - sum(locked) // self.page
        return pages - (self._shared_hits(path, hits) + holding.context.tokens) // self.page

    @staticmethod
    def _shared_hits(path: tuple[SharedKv, ...], hits: Hits) -> int:
        return sum(
            min(shared.context.tokens, max(0, hits.end - shared.segment.start)) for shared in path
        )

    def acquire(
        self, now: float, holding: Holding, path: tuple[SharedKv, ...], hits: Hits, tokens: int
    ) -> None:
        """Give a turn the memory for `tokens` tokens; `needed` pages are free.

        What the program's tail holds beyond the hits is stale and freed.
        """
        holding.context.lease = None
        if holding.context.tokens:
            self._drop_tail(holding)
        self._lock(now, holding, path)
        holding.pages = -(-tokens // self.page) - self._shared_hits(path, hits) // self.page
        self.used += holding.pages

    def share(self, holding: Holding, tokens: int) -> None:
        """A prompt of `tokens` tokens is computed: its shared segments become so for others."""
        moved = 0
        for shared in holding.path:
            shared.computed = True
            missing = shared.size - shared.context.tokens
            if missing:
                self._resize(shared, shared.size)
                moved += missing // self.page
        if holding.path:
            private = -(-tokens // self.page) - holding.path[-1].segment.end // self.page
            self.used -= holding.pages - private - moved
            holding.pages = private

    def shrink(self, holding: Holding, tokens: int) -> int:
        """Of a prompt that is computed up to `tokens` only, free the rest.

        A prompt with shared segments that it has not computed keeps no private pages.

        Returns:
            up to where the prompt's KV stays, whole pages.
        """
        computed = max(0, tokens - self._shared_end(holding)) // self.page
        if any(shared.context.tokens < shared.size for shared in holding.path):
            computed = 0
        self.used -= holding.pages - computed
        holding.pages = computed
        return self._shared_end(holding) + computed * self.page

    def release(self, now: float, holding: Holding, tokens: int) -> None:
        """A turn of `tokens` tokens leaves the batch: its private pages become idle."""
        context = holding.context
        context.start = self._shared_end(holding)
        context.hole = 0
        context.tokens = max(0, -(-tokens // self.page) * self.page - context.start)
        context.used_s = now
        context.lease = None
        holding.pages = 0
        if context.tokens:
            if holding.path:
                holding.path[-1].holders += 1
            if self.parks:
                self.used -= context.tokens // self.page
            else:
                self.idle[context] = None
        self._unlock(now, holding)

    def evict(self, holding: Holding | None, victim: Victim) -> None:
        """Take whole pages off an idle context.

        Args:
            holding: of the context's program; None for a shared segment, which has no other
                front to go on from and gives its tail.
        """
        context, tokens = victim.context, victim.tokens
        if holding is None:
            shared = self._shared_of[context]
            self._resize(shared, context.tokens - tokens)
            self.used -= tokens // self.page
            if not context.tokens:
                del self.idle[context]
        elif tokens == context.tokens:
            self._drop_tail(holding)
        else:
            context.tokens -= tokens
            if victim.front:
                context.hole += tokens
            self.used -= tokens // self.page

    def forget(self, holding: Holding, *, keep: bool) -> None:
        """A program ended, none of its turns is in the batch.

        Args:
            keep: its tail stays in the cache until it is evicted.
        """
        for shared in holding.path:
            shared.context.users.pop(holding.context.program, None)  # type: ignore[arg-type]
        if holding.context.tokens and (not keep or self.parks):
            self._drop_tail(holding)

    def check(self, holdings: Iterable[Holding]) -> None:
        """Every page is accounted for exactly once; for tests.

        Args:
            holdings: of all programs whose KV may be in memory.
        """
        pages = 0
        for holding in holdings:
            pages += holding.pages
            if not self.parks:
                pages += holding.context.tokens // self.page
        for shared in self._shared.values():
            if shared.locks or not self.parks:
                pages += shared.context.tokens // self.page
        assert pages == self.used, f"{self.used} pages counted as used, {pages} are"
        assert 0 <= self.used <= self.pages, f"{self.used} of {self.pages} pages are used"

    def _shared_end(self, holding: Holding) -> int:
        """Where the private part of a turn's pages begins."""
        end = 0
        for shared in holding.path:
            end += shared.context.tokens
            if shared.context.tokens < shared.size:
                break
        return end

    def _drop_tail(self, holding: Holding) -> None:
        context = holding.context
        if not self.parks:
            self.used -= context.tokens // self.page
            del self.idle[context]
        context.tokens = 0
        if holding.path:
            self._let_go(holding.path[-1])

    def _lock(self, now: float, holding: Holding, path: tuple[SharedKv, ...]) -> None:
        program = holding.context.program
        if path is not holding.path:
            for shared in holding.path:
                shared.context.users.pop(program, None)  # type: ignore[arg-type]
            holding.path = path
        for shared in path:
            if not shared.locks:
                if self.parks:
                    self.used += shared.context.tokens // self.page
                self.idle.pop(shared.context, None)
            shared.locks += 1
            shared.context.used_s = now
            shared.context.users[program] = None  # type: ignore[index]

    def _unlock(self, now: float, holding: Holding) -> None:
        for shared in reversed(holding.path):
            shared.locks -= 1
            shared.context.used_s = now
            if not shared.locks and self.parks:
                self.used -= shared.context.tokens // self.page
            self._idle_if_unused(shared)

    def _let_go(self, shared: SharedKv) -> None:
        shared.holders -= 1
        self._idle_if_unused(shared)

    def _idle_if_unused(self, shared: SharedKv) -> None:
        if shared.locks or shared.holders or not shared.context.tokens or self.parks:
            return
        self.idle[shared.context] = None

    def _resize(self, shared: SharedKv, tokens: int) -> None:
        """Set how much of a segment is resident; `used` is the caller's."""
        before, shared.context.tokens = shared.context.tokens, tokens
        if shared.parent is not None and (before == 0) != (tokens == 0):
            if tokens:
                shared.parent.holders += 1
            else:
                self._let_go(shared.parent)


def _begins_with(path: tuple[SharedKv, ...], front: tuple[SharedKv, ...]) -> bool:
    return path is front or path[: len(front)] == front
