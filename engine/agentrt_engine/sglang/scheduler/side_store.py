"""KV behind a hole: contexts that lost their front, kept beside the tree.

A radix tree has no holes. Where the front of a context is evicted, the tree keeps what lies before
the hole, and what lies behind it is kept here: which tokens, and the slots of memory that hold
their KV. KV depends on all tokens before it, not on where those are, so once the hole is computed
again the slots go back into the tree as they are.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentrt_engine.sglang.scheduler.tree import Prefix


@dataclass(slots=True, eq=False)
class Segment:
    """The KV of the tokens from `start` up to `end` of a prefix, whole pages.

    Attributes:
        slots: of those tokens, one per token.
    """

    prefix: Prefix
    start: int
    end: int
    slots: Any

    @property
    def tokens(self) -> int:
        """How many it is."""
        return self.end - self.start

    def reach(self, prompt: Prefix, limit: int) -> int:
        """Up to where a prompt goes on as this one did; 0 where its KV is of no use to the prompt.

        Args:
            limit: of the prompt at most so many tokens count.
        """
        own = self.prefix
        if (prompt.extra_key, prompt.cache_salt) != (own.extra_key, own.cache_salt):
            return 0
        end = min(self.end, limit)
        if prompt.tokens[:end] != own.tokens[:end]:
            end = _common(prompt.tokens, own.tokens, end)
        return end if end > self.start else 0


class SideStore:
    """All segments. Every slot in it is in no other place: not free, and not in the tree.

    Args:
        free: gives slots back to the engine.
    """

    def __init__(self, free: Callable[[Any], None]) -> None:
        self._free = free
        self._segments: dict[Segment, None] = {}
        self._tokens = 0

    def __contains__(self, segment: Segment) -> bool:
        return segment in self._segments

    @property
    def tokens(self) -> int:
        """Tokens of all segments."""
        return self._tokens

    def put(self, prefix: Prefix, start: int, end: int, slots: Any) -> Segment:
        """Keep slots that were taken out of the tree."""
        segment = Segment(prefix, start, end, slots)
        self._segments[segment] = None
        self._tokens += segment.tokens
        return segment

    def take(self, segment: Segment) -> Any:
        """Give up a segment; its slots are the caller's."""
        del self._segments[segment]
        self._tokens -= segment.tokens
        return segment.slots

    def drop(self, segment: Segment) -> int:
        """Free a segment that may be here no more; how many tokens of it were here."""
        if segment not in self._segments:
            return 0
        self._free(self.take(segment))
        return segment.tokens

    def trim(self, segment: Segment, tokens: int) -> int:
        """Free so many tokens, whole pages, off the end; how many were there to be freed."""
        if tokens >= segment.tokens or segment not in self:
            return self.drop(segment)
        left = segment.tokens - tokens
        freed, segment.slots = segment.slots[left:], segment.slots[:left]
        segment.end -= tokens
        self._tokens -= tokens
        self._free(freed)
        return tokens

    def trim_front(self, segment: Segment, tokens: int) -> int:
        """The same off the start."""
        if tokens >= segment.tokens or segment not in self:
            return self.drop(segment)
        freed, segment.slots = segment.slots[:tokens], segment.slots[tokens:]
        segment.start += tokens
        self._tokens -= tokens
        self._free(freed)
        return tokens

    def forget_all(self) -> None:
        """The engine emptied its memory: there is nothing to free."""
        self._segments.clear()
        self._tokens = 0


def _common(one: array[int], other: array[int], end: int) -> int:
    """Length of what two arrays begin with alike, at most `end`."""
    most = min(len(one), len(other), end)
    return bisect_left(range(1, most + 1), True, key=lambda length: one[:length] != other[:length])
