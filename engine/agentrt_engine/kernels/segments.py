"""Which tokens of a paged pool each sequence of a batch attends to, and where its queries stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Segments:
    """The layout of one forward pass, for all its layers.

    A context may have holes: cached parts before, between and after what is computed now. Its keys
    are the tokens that are in the pool by the time of attention, the new ones among them, in
    ascending order of their positions; its queries are the new ones. A query sees the keys whose
    position is not after its own.

    B sequences, T queries in all, M pages at most per sequence, N keys at most.

    Attributes:
        query_start: first query of each sequence, and T, int32 [B + 1].
        query_positions: int32 [T].
        pages: of the pool; key n lies in page n // page_size of its sequence, int32 [B, M].
        lengths: keys of each sequence, int32 [B]; may be 0.
        key_positions: int32 [B, N], ascending; None where key n has position n: no holes.
        page_size: tokens of a page.
        most_queries: of one sequence.
        most_keys: of one sequence.
    """

    query_start: Tensor
    query_positions: Tensor
    pages: Tensor
    lengths: Tensor
    key_positions: Tensor | None
    page_size: int
    most_queries: int
    most_keys: int

    @classmethod
    def of(
        cls,
        queries: Sequence[Sequence[int]],
        keys: Sequence[Sequence[int] | int],
        pages: Sequence[Sequence[int]],
        page_size: int,
        device: torch.device | str = "cpu",
    ) -> Segments:
        """A layout from lists.

        Args:
            queries: positions of each sequence's queries.
            keys: positions of each sequence's keys in ascending order; for all sequences a number
                instead means the positions before it.
            pages: that hold the keys of each sequence.

        Raises:
            ValueError: lists are of different lengths, positions do not ascend, pages are missing.
        """
        if not len(queries) == len(keys) == len(pages):
            raise ValueError(
                f"{len(queries)} lists of queries, {len(keys)} of keys, {len(pages)} of pages: "
                "expected one of each per sequence"
            )
        whole = all(isinstance(each, int) for each in keys)
        listed = [range(each) if isinstance(each, int) else each for each in keys]
        for at, (positions, held) in enumerate(zip(listed, pages, strict=True)):
            if any(a >= b for a, b in pairwise(positions)):
                raise ValueError(f"positions of the keys of sequence {at} do not ascend")
            if len(held) * page_size < len(positions):
                raise ValueError(
                    f"sequence {at} has {len(positions)} keys and {len(held)} pages of {page_size}"
                )

        def whole_numbers(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int32, device=device)

        def padded(rows: Sequence[Sequence[int]]) -> Tensor:
            width = max(map(len, rows), default=0)
            flat = [each for row in rows for each in (*row, *[0] * (width - len(row)))]
            return whole_numbers(flat).view(len(rows), width)

        counts = [len(each) for each in queries]
        return cls(
            query_start=whole_numbers([0, *accumulate(counts)]),
            query_positions=whole_numbers([each for row in queries for each in row]),
            pages=padded(pages),
            lengths=whole_numbers([len(each) for each in listed]),
            key_positions=None if whole else padded(listed),
            page_size=page_size,
            most_queries=max(counts, default=0),
            most_keys=max(map(len, listed), default=0),
        )

    @property
    def sequences(self) -> int:
        """B."""
        return len(self.lengths)


@dataclass(frozen=True, slots=True)
class LowRank:
    """What adapters add to the values of a layer: x·A in a pool beside them, and B.

    The value of a token under an adapter is V + (x·A)·B, with the row x·A of rank R as wide as the
    widest adapter. L adapters, K KV heads, Dv values of a head.

    Attributes:
        pool: x·A of each token, for all heads, [pages, page size, R].
        up: B of each adapter, its scale included, [L, K, R, Dv].
        ranks: how many rows of B each adapter has, int32 [L]; the rest is not read.
        adapters: of each sequence, int32 [B]; -1 for the base model, which reads nothing of this.
        producers: adapter that wrote each row of the pool, int32 [pages, page size]: rows of others
            count as zero. None: all rows count for everybody, as where adapters share A.
    """

    pool: Tensor
    up: Tensor
    ranks: Tensor
    adapters: Tensor
    producers: Tensor | None = None
