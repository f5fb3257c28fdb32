"""What every attention kernel is held against: plain attention in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from agentrt_engine.kernels.segments import LowRank, Segments


def causal_attention(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Attention of the last tokens of one sequence over all of it, in float64.

    Args:
        query: [T, H, D], the last T of the N tokens.
        keys: [N, K, D].
        values: [N, K, Dv].
        scale: factor on the scores.

    Returns:
        float64 [T, H, Dv].
    """
    length = keys.shape[0]
    positions = torch.arange(length)
    return _attention(query, positions[length - query.shape[0] :], keys, positions, values, scale)


def segment_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    segments: Segments,
    scale: float,
    low_rank: LowRank | None = None,
) -> Tensor:
    """Attention over the segments of each sequence, in float64, with values written out in full.

    Args:
        query: [T, H, D].
        keys: [pages, page size, K, D].
        values: [pages, page size, K, Dv].
        scale: factor on the scores.
        low_rank: what adapters add to the values.

    Returns:
        float64 [T, H, Dv]; zero where a query sees nothing.
    """
    output = torch.zeros(*query.shape[:2], values.shape[-1], dtype=torch.float64)
    starts = segments.query_start.tolist()
    for at, length in enumerate(segments.lengths.tolist()):
        number = torch.arange(length)
        page = segments.pages[at, number // segments.page_size].long()
        slot = number % segments.page_size
        if segments.key_positions is None:
            key_positions = number
        else:
            key_positions = segments.key_positions[at, :length].long()
        queries = slice(starts[at], starts[at + 1])
        seen = values[page, slot].double()
        if low_rank is not None and (adapter := int(low_rank.adapters[at])) >= 0:
            rank = int(low_rank.ranks[adapter])
            rows = low_rank.pool[page, slot, :rank].double()
            if low_rank.producers is not None:
                rows[low_rank.producers[page, slot] != adapter] = 0.0
            seen = seen + torch.einsum("nr,krd->nkd", rows, low_rank.up[adapter, :, :rank].double())
        output[queries] = _attention(
            query[queries],
            segments.query_positions[queries].long(),
            keys[page, slot],
            key_positions,
            seen,
            scale,
        )
    return output


def _attention(
    query: Tensor,
    query_positions: Tensor,
    keys: Tensor,
    key_positions: Tensor,
    values: Tensor,
    scale: float,
) -> Tensor:
    """Query head h reads KV head h // (H / K)."""
    group = query.shape[1] // keys.shape[1]
    wide_keys = keys.double().repeat_interleave(group, dim=1)
    wide_values = values.double().repeat_interleave(group, dim=1)
    scores = torch.einsum("thd,nhd->htn", query.double(), wide_keys) * scale
    future = key_positions[None, :] > query_positions[:, None]
    weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1).nan_to_num(0.0)
    return torch.einsum("htn,nhd->thd", weights, wide_values)
