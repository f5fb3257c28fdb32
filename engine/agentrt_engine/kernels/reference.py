"""What every attention kernel is held against: plain attention in float64."""

from __future__ import annotations

import torch
from torch import Tensor


def causal_attention(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Attention of the last tokens of one sequence over all of it, in float64.

    Query head h reads KV head h // (H / K).

    Args:
        query: [T, H, D], the last T of the N tokens.
        keys: [N, K, D].
        values: [N, K, Dv].
        scale: factor on the scores.

    Returns:
        float64 [T, H, Dv].
    """
    new, heads, _ = query.shape
    length, kv_heads, _ = keys.shape
    group = heads // kv_heads
    wide_keys = keys.double().repeat_interleave(group, dim=1)
    wide_values = values.double().repeat_interleave(group, dim=1)
    scores = torch.einsum("thd,nhd->htn", query.double(), wide_keys) * scale
    position = torch.arange(length - new, length)
    future = torch.arange(length)[None, :] > position[:, None]
    weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
    return torch.einsum("htn,nhd->thd", weights, wide_values)
