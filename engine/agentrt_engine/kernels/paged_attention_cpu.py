"""Attention of new tokens over a sequence whose KV lies scattered in a pool, on the CPU.

The query heads that share a KV head become extra query rows of it (GQA folding), so K and V
are gathered once and never expanded, and torch's flash kernel for the CPU applies.

Shapes: T new tokens, H query heads, K KV heads, G = H / K, D head size, N tokens of the
sequence, P rows of the pool.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True, slots=True)
class PagedSequence:
    """One sequence of a forward pass; made once, used by every layer.

    Attributes:
        rows: where its tokens lie in the pool, int64 [N].
        new: T, the last tokens of the sequence, which the query holds.
        mask: which of the N tokens each folded query row sees, bool [G·T, N]; None where a
            plain call says the same.
    """

    rows: Tensor
    new: int
    mask: Tensor | None

    @classmethod
    def of(cls, rows: Tensor, new: int, group: int) -> PagedSequence:
        """The sequence at `rows` with `new` tokens in the query and `group` = G.

        A single new token sees everything, and for a cold prompt the kernel's own causal mode
        is faster: neither needs a mask.
        """
        length = rows.shape[0]
        if new in (1, length):
            return cls(rows, new, None)
        causal = torch.ones(new, length, dtype=torch.bool).tril_(length - new)
        return cls(rows, new, causal.repeat(group, 1))


def paged_attention(
    query: Tensor,
    key_pool: Tensor,
    value_pool: Tensor,
    sequence: PagedSequence,
    scale: float,
    output: Tensor,
) -> None:
    """Write the attention of the sequence's new tokens to `output`.

    Args:
        query: [T, H, D].
        key_pool: [P, K, D], of the query's type.
        value_pool: [P, K, Dv].
        sequence: where its tokens lie.
        scale: factor on the scores.
        output: [T, H, Dv], overwritten.
    """
    new, heads, size = query.shape
    kv_heads = key_pool.shape[1]
    group = heads // kv_heads
    keys = key_pool.index_select(0, sequence.rows).transpose(0, 1).unsqueeze(0)
    values = value_pool.index_select(0, sequence.rows).transpose(0, 1).unsqueeze(0)
    if new > 1 and sequence.mask is None:
        cold = scaled_dot_product_attention(
            query.transpose(0, 1).unsqueeze(0),
            keys,
            values,
            is_causal=True,
            scale=scale,
            enable_gqa=group > 1,
        )
        output.copy_(cold[0].transpose(0, 1))
        return
    # [T, K, G, D] -> [K, G·T, D]: row g·T + t is token t under query head g of its KV head
    folded = (
        query.view(new, kv_heads, group, size).permute(1, 2, 0, 3).reshape(1, kv_heads, -1, size)
    )
    warm = scaled_dot_product_attention(folded, keys, values, attn_mask=sequence.mask, scale=scale)
    unfolded = warm.view(kv_heads, group, new, warm.shape[-1]).permute(2, 0, 1, 3)
    output.copy_(unfolded.reshape(output.shape))
