"""Multi-segment attention and Flash-LoRA-Attention for the CPU: few queries in C, many in torch.

In torch the rows of the low-rank pool become further columns of the values, so scores and weights
are computed once, and the product with B comes after attention: nothing is expanded.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from agentrt_engine.kernels.native.attention import (
    MOST_QUERIES,
    NativeBatch,
    attention,
    is_supported,
)
from agentrt_engine.kernels.native.library import library
from agentrt_engine.kernels.segments import LowRank, Segments


def segment_attention_cpu(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    segments: Segments,
    scale: float,
    output: Tensor,
    low_rank: LowRank | None = None,
) -> None:
    """See `segment_attention`."""
    done = 0
    if (native := library()) is not None and _is_native(query, keys, values, output, low_rank):
        batch = NativeBatch.of_segments(segments)
        attention(native, batch, query, keys, values, scale, output, low_rank)
        done = MOST_QUERIES
    if segments.most_queries <= done:
        return
    starts = segments.query_start.tolist()
    adapters = [-1] * segments.sequences if low_rank is None else low_rank.adapters.tolist()
    for at, (length, adapter) in enumerate(zip(segments.lengths.tolist(), adapters, strict=True)):
        own = slice(starts[at], starts[at + 1])
        if own.stop - own.start <= done:
            continue
        if own.start == own.stop or not length:
            output[own] = 0.0
            continue
        number = torch.arange(length)
        rows = segments.pages[at].long()[number // segments.page_size] * segments.page_size
        rows += number % segments.page_size
        seen = _gathered(values, rows)
        up = None
        if low_rank is not None and adapter >= 0:
            up = low_rank.up[adapter, :, : int(low_rank.ranks[adapter])]
            seen = torch.cat([seen, _low_rank_rows(low_rank, rows, adapter, keys.shape[2])], -1)
        _attend(
            query[own],
            _gathered(keys, rows),
            seen,
            _mask(segments, at, own, length),
            scale,
            up,
            output[own],
        )


def _is_native(
    query: Tensor, keys: Tensor, values: Tensor, output: Tensor, low_rank: LowRank | None
) -> bool:
    return is_supported(query, keys, values, output) and (
        low_rank is None or low_rank.pool.dtype == low_rank.up.dtype == query.dtype
    )


def _gathered(pool: Tensor, rows: Tensor) -> Tensor:
    """[K, N, D] of a pool [pages, page size, K, D]."""
    return pool.flatten(0, 1).index_select(0, rows).transpose(0, 1)


def _low_rank_rows(low_rank: LowRank, rows: Tensor, adapter: int, kv_heads: int) -> Tensor:
    """[K, N, r], the same for all heads; zero where another adapter wrote."""
    rank = int(low_rank.ranks[adapter])
    found = low_rank.pool.flatten(0, 1)[:, :rank].index_select(0, rows)
    if low_rank.producers is not None:
        others = low_rank.producers.flatten().index_select(0, rows) != adapter
        found = found.masked_fill(others[:, None], 0.0)
    return found.expand(kv_heads, -1, -1)


def _mask(segments: Segments, at: int, own: slice, length: int) -> Tensor:
    """Which keys each query sees, bool [t, N]."""
    if segments.key_positions is None:
        positions = torch.arange(length, dtype=torch.int32)
    else:
        positions = segments.key_positions[at, :length]
    return positions[None, :] <= segments.query_positions[own, None]


def _attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor,
    scale: float,
    up: Tensor | None,
    output: Tensor,
) -> None:
    new, heads, size = query.shape
    kv_heads = keys.shape[0]
    group = heads // kv_heads
    value_size = output.shape[-1]
    # [t, K, G, D] -> [K, t·G, D]: row t·G + g is token t under query head g of its KV head
    folded = query.reshape(new, kv_heads, group, size).transpose(0, 1).reshape(kv_heads, -1, size)
    wide = mask.repeat_interleave(group, 0)
    found = scaled_dot_product_attention(
        folded[None], keys[None], values[None], attn_mask=wide, scale=scale
    )[0]
    result = found[..., :value_size]
    if up is not None:
        result = result + torch.bmm(found[..., value_size:], up.to(found.dtype))
    # A row that sees nothing is no number.
    result = result.masked_fill(~wide.any(1)[None, :, None], 0.0)
    output.copy_(result.view(kv_heads, new, group, -1).transpose(0, 1).reshape(output.shape))
