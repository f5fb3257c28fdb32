"""Attention of new tokens over a sequence whose KV lies scattered in a pool, on the CPU.

The query heads that share a KV head become extra query rows of it (GQA folding), so K and V
are gathered once and never expanded, and torch's flash kernel for the CPU applies. Many new
tokens are done in tiles, each over the tokens up to its own end: of the part that a causal mask
hides, only a small triangle per tile is computed.

Shapes: T new tokens, H query heads, K KV heads, G = H / K, D head size, N tokens of the
sequence, P rows of the pool.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from agentrt_engine.kernels.native.attention import NativeBatch, attention, is_supported
from agentrt_engine.kernels.native.library import library

#: New tokens of a tile. Of 64 to 256 the fastest or within 5 % of it, at every length.
TILE = 128


@dataclass(frozen=True, slots=True)
class PagedSequence:
    """One sequence of a forward pass; made once, used by every layer.

    Attributes:
        rows: where its tokens lie in the pool, int64 [N].
        new: T, the last tokens of the sequence, which the query holds.
        group: G.
        mask: which tokens each folded query row of the last tile sees, were it a full one, bool
            [G·TILE, at least N]; None where a single new token sees everything. Every other tile
            sees the same, shifted.
    """

    rows: Tensor
    new: int
    group: int
    mask: Tensor | None

    @classmethod
    def of(cls, rows: Tensor, new: int, group: int) -> PagedSequence:
        """The sequence at `rows` with `new` tokens in the query and `group` = G."""
        if new == 1:
            return cls(rows, new, group, None)
        tile = min(new, TILE)
        before = rows.shape[0] - new + (new - 1) // TILE * TILE
        causal = torch.ones(tile, before + tile, dtype=torch.bool).tril_(before)
        return cls(rows, new, group, causal.repeat_interleave(group, 0))

    def tiles(self, mask: Tensor) -> Iterator[tuple[int, int, int, Tensor]]:
        """Of the new tokens: first and end of each tile, how many tokens of the sequence it sees,
        and which of them each folded row sees."""
        cached = self.rows.shape[0] - self.new
        for first in range(0, self.new, TILE):
            end = min(self.new, first + TILE)
            shift = (self.new - 1) // TILE * TILE - first
            seen = cached + end
            yield first, end, seen, mask[: (end - first) * self.group, shift : shift + seen]


def paged_decode(
    query: Tensor,
    key_pool: Tensor,
    value_pool: Tensor,
    batch: NativeBatch,
    scale: float,
    output: Tensor,
) -> bool:
    """Write the attention of one new token of each sequence of a batch to `output`, in C.

    Args:
        query: [B, H, D].
        key_pool: [P, K, D], of the query's type.
        value_pool: [P, K, Dv].
        batch: `NativeBatch.of_table`, made once for all layers.
        scale: factor on the scores.
        output: [B, H, Dv], overwritten.

    Returns:
        False where nothing was written: there are no native kernels, or none for these tensors.
    """
    native = library()
    if native is None or not is_supported(query, key_pool, value_pool, output):
        return False
    attention(native, batch, query, key_pool, value_pool, scale, output)
    return True


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
    keys = key_pool.index_select(0, sequence.rows).transpose(0, 1).unsqueeze(0)
    values = value_pool.index_select(0, sequence.rows).transpose(0, 1).unsqueeze(0)
    if sequence.mask is None:
        _attend(query, keys, values, None, scale, output)
        return
    for first, end, seen, mask in sequence.tiles(sequence.mask):
        tile = slice(first, end)
        _attend(query[tile], keys[:, :, :seen], values[:, :, :seen], mask, scale, output[tile])


def _attend(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float, output: Tensor
) -> None:
    """Of t new tokens over the n tokens [1, K, n, D] up to the last of them."""
    new, heads, size = query.shape
    kv_heads = keys.shape[1]
    group = heads // kv_heads
    # [t, K, G, D] -> [K, t·G, D]: row t·G + g is token t under query head g of its KV head
    folded = query.view(new, kv_heads, group, size).transpose(0, 1).reshape(1, kv_heads, -1, size)
    found = scaled_dot_product_attention(folded, keys, values, attn_mask=mask, scale=scale)
    unfolded = found.view(kv_heads, new, group, -1).transpose(0, 1)
    output.copy_(unfolded.reshape(output.shape))
