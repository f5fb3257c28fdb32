"""Attention of few queries over a paged pool, in C: for decoding, where torch's kernel would first
have to gather K and V. Each byte of them is read once, for all query heads and queries."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agentrt_engine.kernels.native.library import Batch, Library, LowRankArguments, Shapes
from agentrt_engine.kernels.segments import LowRank, Segments

#: Sequences with more queries are faster in torch, as matrix products.
MOST_QUERIES = 8

_TYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class NativeBatch:
    """Which keys each query of a batch sees, as the kernel reads it.

    Attributes:
        arguments: with pointers into the tensors.
        tensors: they live as long as this.
    """

    arguments: Batch
    tensors: tuple[Tensor, ...]

    @classmethod
    def of_segments(cls, segments: Segments) -> NativeBatch:
        """The sequences of `segments`; those with too many queries are left out."""
        pages, positions = _rows(segments.pages), segments.key_positions
        tensors = [
            pages,
            segments.lengths.contiguous(),
            segments.query_start.contiguous(),
            segments.query_positions.contiguous(),
        ]
        if positions is not None:
            tensors.append(_rows(positions))
        addresses = [each.data_ptr() for each in tensors]
        arguments = Batch(
            sequences=segments.sequences,
            page_size=segments.page_size,
            pages=addresses[0],
            pages_stride=pages.stride(0),
            lengths=addresses[1],
            query_start=addresses[2],
            query_positions=addresses[3],
            key_positions=None if positions is None else addresses[4],
            key_positions_stride=0 if positions is None else tensors[4].stride(0),
            most_queries=MOST_QUERIES,
        )
        return cls(arguments, tuple(tensors))

    @classmethod
    def of_table(cls, table: Tensor, rows: Tensor, lengths: Tensor) -> NativeBatch:
        """One query each, after all keys of its sequence.

        Args:
            table: where the tokens of sequences lie in the pool, int32 [slots, most tokens].
            rows: row of the table, of each sequence, [B].
            lengths: tokens of each sequence, [B].
        """
        table = _rows(table)
        rows = rows.to(torch.int64).contiguous()
        lengths = lengths.to(torch.int32).contiguous()
        arguments = Batch(
            sequences=len(lengths),
            page_size=1,
            pages=table.data_ptr(),
            pages_stride=table.stride(0),
            rows=rows.data_ptr(),
            lengths=lengths.data_ptr(),
            most_queries=1,
        )
        return cls(arguments, (table, rows, lengths))


def is_supported(query: Tensor, keys: Tensor, values: Tensor, output: Tensor) -> bool:
    """Whether the kernel knows the types and layouts of these tensors."""
    return (
        query.dtype in _TYPES
        and all(each.dtype == query.dtype for each in (keys, values, output))
        and all(each.stride(-1) == 1 for each in (query, keys, values, output))
    )


def attention(
    library: Library,
    batch: NativeBatch,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    scale: float,
    output: Tensor,
    low_rank: LowRank | None = None,
) -> None:
    """See `segment_attention`.

    Args:
        query: [T, H, D].
        keys: [pages, page size, K, D], or [P, K, D] where a page holds one token.
        values: the same with Dv.
        output: [T, H, Dv].

    Raises:
        MemoryError: no memory for the partial results.
    """
    _, heads, size = query.shape
    key_strides, value_strides = keys.stride(), values.stride()
    shapes = Shapes(
        query.dtype is torch.bfloat16,
        heads,
        values.shape[-2],
        size,
        values.shape[-1],
        *query.stride()[:2],
        key_strides[0],
        key_strides[-3],
        key_strides[-2],
        value_strides[0],
        value_strides[-3],
        value_strides[-2],
        *output.stride()[:2],
    )
    extra, kept = _low_rank_arguments(low_rank)
    failed = library.attention(
        ctypes.addressof(batch.arguments),
        ctypes.addressof(shapes),
        extra,
        query.data_ptr(),
        keys.data_ptr(),
        values.data_ptr(),
        output.data_ptr(),
        scale,
        torch.get_num_threads(),
    )
    del kept
    if failed:
        raise MemoryError("attention: no memory for partial results")


def _rows(matrix: Tensor) -> Tensor:
    return matrix if matrix.stride(-1) == 1 else matrix.contiguous()


def _low_rank_arguments(low_rank: LowRank | None) -> tuple[Any, tuple[Any, ...]]:
    """A pointer for the kernel, and what must outlive its use."""
    if low_rank is None:
        return None, ()
    pool, up = _rows(low_rank.pool), _rows(low_rank.up)
    ranks, adapters = low_rank.ranks.contiguous(), low_rank.adapters.contiguous()
    producers = None if low_rank.producers is None else _rows(low_rank.producers)
    arguments = LowRankArguments(
        pool=pool.data_ptr(),
        pool_page=pool.stride(0),
        pool_slot=pool.stride(1),
        producers=None if producers is None else producers.data_ptr(),
        producers_page=0 if producers is None else producers.stride(0),
        up=up.data_ptr(),
        up_adapter=up.stride(0),
        up_head=up.stride(1),
        up_row=up.stride(2),
        ranks=ranks.data_ptr(),
        adapters=adapters.data_ptr(),
        rank=pool.shape[-1],
    )
    return ctypes.addressof(arguments), (arguments, pool, up, ranks, adapters, producers)
