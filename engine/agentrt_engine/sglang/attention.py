"""Attention backends `agentrt`: SGLang's own, with Flash-LoRA-Attention where requests share KV.

On the CPU it is `cpu.attention`, and linear layers and decoding steps are ours with it; on CUDA it
is SGLang's Triton backend. A batch in which a sequence shares values across adapters runs in
`kernels.segment_attention`; all others take the usual way.
"""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.mem_cache.memory_pool import KVWriteLoc
from torch import Tensor

from agentrt_engine.kernels.segment_attention import segment_attention
from agentrt_engine.kernels.segments import Segments
from agentrt_engine.sglang.lora.low_rank_values import LowRankValues


def make_attention(model_runner: Any, values: LowRankValues | None) -> Any:
    """The backend for a model.

    Args:
        values: low-rank part of values; None where nothing is shared.
    """
    usual = _usual(model_runner.device)
    if values is None:
        return usual(model_runner)
    sharing = type("SharingAttention", (_SharingAttention, usual), {"values": values})
    return sharing(model_runner)


def _usual(device: str) -> Any:
    if device == "cpu":
        from agentrt_engine.sglang.cpu import linear, llama
        from agentrt_engine.sglang.cpu.attention import CpuAttention

        linear.install()
        llama.install()
        return CpuAttention
    from sglang.srt.layers.attention.triton_backend import TritonAttnBackend

    return TritonAttnBackend


class _SharingAttention:
    """Mixin before a backend of SGLang.

    Attributes:
        values: low-rank part of the values of sequences that share.
    """

    values: LowRankValues
    token_to_kv_pool: Any
    req_to_token_pool: Any
    _segments: Segments | None = None

    def init_forward_metadata(self, forward_batch: Any) -> None:
        super().init_forward_metadata(forward_batch)  # type: ignore[misc]
        self._segments = None
        if self.values.batch is not None:
            table = self.req_to_token_pool.req_to_token
            self._segments = _segments(forward_batch, table)

    def forward_extend(self, *batch: Any, **options: Any) -> Tensor:
        return self._forward("forward_extend", *batch, **options)

    def forward_decode(self, *batch: Any, **options: Any) -> Tensor:
        return self._forward("forward_decode", *batch, **options)

    def _forward(
        self,
        usual: str,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        layer: Any,
        forward_batch: Any,
        save_kv_cache: bool = True,
        **options: Any,
    ) -> Tensor:
        segments = self._segments
        if segments is None:
            forward = getattr(super(), usual)
            result: Tensor = forward(q, k, v, layer, forward_batch, save_kv_cache, **options)
            return result
        pool = self.token_to_kv_pool
        if save_kv_cache:
            pool.set_kv_buffer(layer, KVWriteLoc(forward_batch.out_cache_loc, None), k, v)
        heads = layer.tp_q_head_num
        output = q.new_empty(q.shape[0], heads * layer.v_head_dim)
        segment_attention(
            q.view(-1, heads, layer.qk_head_dim),
            pool.get_key_buffer(layer.layer_id).unsqueeze(1),
            pool.get_value_buffer(layer.layer_id).unsqueeze(1),
            segments,
            layer.scaling,
            output.view(-1, heads, layer.v_head_dim),
            self.values.of(layer.layer_id),
        )
        return output


def _segments(forward_batch: Any, table: Tensor) -> Segments:
    """Of a batch without holes; a page is a slot of the pool."""
    lengths = forward_batch.seq_lens
    most = int(lengths.max())
    extends = forward_batch.forward_mode.is_extend()
    counts = forward_batch.extend_seq_lens if extends else torch.ones_like(lengths)
    start = torch.zeros(len(lengths) + 1, dtype=torch.int32, device=lengths.device)
    torch.cumsum(counts, 0, out=start[1:])
    return Segments(
        query_start=start,
        query_positions=forward_batch.positions.to(torch.int32),
        pages=table[forward_batch.req_pool_indices, :most],
        lengths=lengths.to(torch.int32),
        key_positions=None,
        page_size=1,
        most_queries=int(counts.max()),
        most_keys=most,
    )
