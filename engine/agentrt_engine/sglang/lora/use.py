"""How one request uses its adapter, and where its KV lies in the radix tree.

SGLang hands a request's adapter id through to the forward pass, and its namespace (`extra_key`) to
the radix tree, as strings. What else there is to know travels with these strings: they are strings
with attributes, equal to the plain ones, and SGLang need not know.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy

from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.sglang.lora.adapter import Adapter

#: Where an adapter never acts.
NEVER = sys.maxsize

#: Ends the caller's part of a namespace; the rest is ours.
_OURS = "\x1f"

#: Token ids are below it. What is above says whose KV it is.
_PRIVATE = 32


class AdapterUse(str):
    """The id of an adapter, in the hands of one request.

    Attributes:
        start: first position it acts on.
        shared: whether the values it writes are kept apart from their low-rank part.
    """

    __slots__ = ("shared", "start")
    start: int
    shared: bool

    def __new__(cls, adapter_id: str, *, start: int = 0, shared: bool = False) -> AdapterUse:
        self = super().__new__(cls, adapter_id)
        self.start = start
        self.shared = shared
        return self


class Namespace(str):
    """Of a request under an activated adapter: shared up to `start`, the adapter's own after it.

    As a string it is unlike any other namespace. In the tree (`tree_key`) it is `before`, with the
    tokens from `start` on made the adapter's own.

    Attributes:
        before: namespace of the tokens before `start`, None for that of the base model.
        adapter: number of the adapter.
        start: first position of its own.
    """

    __slots__ = ("adapter", "before", "start")
    before: str | None
    adapter: int
    start: int

    def __new__(cls, before: str | None, adapter: int, start: int) -> Namespace:
        self = super().__new__(cls, f"{before or ''}{_OURS}{adapter}@{start}")
        self.before = before
        self.adapter = adapter
        self.start = start
        return self

    def own(self, tokens: array[int]) -> array[int]:
        """The tokens of a key of the tree."""
        marked = numpy.array(tokens, dtype=numpy.int64)
        marked[self.start :] |= (self.adapter + 1) << _PRIVATE
        return array("q", marked.tobytes())


class Placed(NamedTuple):
    """Where a request belongs."""

    use: AdapterUse
    namespace: str | None


def placed(
    adapter: Adapter,
    adapter_id: str,
    number: int,
    prompt: array[int],
    callers: str | None,
    sharing: LoraSharing,
) -> Placed:
    """How a request uses an adapter, and its namespace.

    Args:
        number: of the adapter, no other's.
        prompt: its tokens.
        callers: namespace that the caller asked for.
        sharing: the engine's mode if the request asks to share, else `OFF`.
    """
    private = (callers or "") + adapter_id
    if adapter.invocation:
        found = adapter.acts_from(prompt)
        start = NEVER if found is None else found
        before = private if sharing is LoraSharing.OFF else callers
        return Placed(AdapterUse(adapter_id, start=start), Namespace(before, number, start))
    if sharing.splits_values:
        together = f"{callers or ''}{_OURS}{sharing}"
        return Placed(AdapterUse(adapter_id, shared=True), together)
    return Placed(AdapterUse(adapter_id), private)


class Part(NamedTuple):
    """Consecutive tokens of a batch that one sequence brings."""

    sequence: int
    tokens: int
    acts: bool


def parts(uses: Sequence[str | None], firsts: list[int], counts: list[int]) -> Iterator[Part]:
    """A batch in the parts on which an adapter acts, or does not.

    Args:
        uses: of each sequence, None for the base model.
        firsts: position of each sequence's first token.
        counts: tokens of each sequence.
    """
    for sequence, (use, first, count) in enumerate(zip(uses, firsts, counts, strict=True)):
        start = use.start if isinstance(use, AdapterUse) else 0
        before = min(max(start - first, 0), count)
        if before:
            yield Part(sequence, before, acts=False)
        if before < count:
            yield Part(sequence, count - before, acts=use is not None)
