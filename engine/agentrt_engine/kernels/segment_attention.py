"""Attention over cached segments with holes between them, with or without low-rank values."""

from __future__ import annotations

from torch import Tensor

from agentrt_engine.kernels.segment_attention_cpu import segment_attention_cpu
from agentrt_engine.kernels.segments import LowRank, Segments


def segment_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    segments: Segments,
    scale: float,
    output: Tensor,
    low_rank: LowRank | None = None,
) -> None:
    """Write the attention of a batch of queries over their segments to `output`.

    *Multi-segment attention* (AsymCache): queries and keys stand at any positions, causal by
    position; decode is a batch of sequences with one query each, extend one with many, both may be
    mixed. Query head h reads KV head h // (H / K).

    With `low_rank`, *Flash-LoRA-Attention* (LRAgent, arXiv 2602.01053): O = P·V + (P·X)·B. The
    weights P times the low-rank rows X are a second accumulator beside P·V, and B is applied to
    it once, at the end: work that grows with the keys is Θ(rank), not Θ(rank · head size).

    The last dimension of each tensor has stride 1, all others have any. All types are the same,
    float32, bfloat16 or float16. On CUDA in Triton, on the CPU in torch.

    Args:
        query: [T, H, D].
        keys: [pages, page size, K, D].
        values: [pages, page size, K, Dv].
        segments: which keys each query sees.
        scale: factor on the scores.
        output: [T, H, Dv], overwritten; zero where a query sees nothing.
        low_rank: what adapters add to the values.

    Raises:
        ValueError: shapes do not fit together.
    """
    _check(query, keys, values, segments, output, low_rank)
    if not query.shape[0]:
        return
    if query.is_cuda:
        from agentrt_engine.kernels.segment_attention_triton import segment_attention_triton

        segment_attention_triton(query, keys, values, segments, scale, output, low_rank)
    else:
        segment_attention_cpu(query, keys, values, segments, scale, output, low_rank)


def _check(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    segments: Segments,
    output: Tensor,
    low_rank: LowRank | None,
) -> None:
    total, heads, size = query.shape
    pages, page_size, kv_heads, value_size = values.shape
    expected = {
        "query_positions": (segments.query_positions, (total,)),
        "keys": (keys, (pages, segments.page_size, kv_heads, size)),
        "values": (values, (pages, segments.page_size, kv_heads, value_size)),
        "output": (output, (total, heads, value_size)),
    }
    if low_rank is not None:
        adapters, _, rank, _ = low_rank.up.shape
        expected |= {
            "low_rank.pool": (low_rank.pool, (pages, page_size, rank)),
            "low_rank.up": (low_rank.up, (adapters, kv_heads, rank, value_size)),
            "low_rank.ranks": (low_rank.ranks, (adapters,)),
            "low_rank.adapters": (low_rank.adapters, (segments.sequences,)),
        }
        if low_rank.producers is not None:
            expected["low_rank.producers"] = (low_rank.producers, (pages, page_size))
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
    for name in ("keys", "values", "output"):
        if expected[name][0].dtype != query.dtype:
            raise ValueError(f"{name} is {expected[name][0].dtype}, expected {query.dtype}")
    if heads % kv_heads:
        raise ValueError(f"{heads} query heads do not divide by {kv_heads} KV heads")
