"""SGLang attention backend for the CPU, on `kernels.paged_attention_cpu`.

SGLang's `torch_native` pads the query to the whole sequence at every extend, so a cached
prefix saves nothing, and expands K and V to all query heads at every step. This one runs
only the new tokens, and decodes in C where there is a compiler. What the kernels do not know (cross
attention, sliding windows, encoder-only layers, a KV cache of another type than the query) goes to
`torch_native`.
"""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend
from torch import Tensor

from agentrt_engine.kernels.native.attention import NativeBatch
from agentrt_engine.kernels.native.library import library
from agentrt_engine.kernels.paged_attention_cpu import PagedSequence, paged_attention, paged_decode


class CpuAttention(TorchNativeAttnBackend):
    """`torch_native` with its two loops over sequences replaced.

    Attributes:
        decoding: the batch of a decoding step in C, None in any other.
    """

    def __init__(self, model_runner: Any) -> None:
        super().__init__(model_runner)
        config = model_runner.model_config
        self._group: int = config.num_attention_heads // config.get_total_num_kv_heads()
        self._sequences: list[PagedSequence] = []
        self.decoding: NativeBatch | None = None

    def init_forward_metadata(self, forward_batch: Any) -> None:
        """Look up the pool rows of every sequence, once for all layers."""
        super().init_forward_metadata(forward_batch)
        slots, lengths = forward_batch.req_pool_indices, forward_batch.seq_lens
        table = self.req_to_token_pool.req_to_token
        self.decoding = None
        if forward_batch.forward_mode.is_extend():
            self._sequences = self._read(table, slots, lengths, forward_batch.extend_seq_lens)
        elif library() is not None:
            self.decoding = NativeBatch.of_table(table, slots, lengths)
        else:
            self._sequences = self._read(table, slots, lengths, torch.ones_like(lengths))

    def _read(
        self, table: Tensor, slots: Tensor, lengths: Tensor, new: Tensor
    ) -> list[PagedSequence]:
        return [
            PagedSequence.of(table[slot, :length].long(), count, self._group)
            for slot, length, count in zip(
                slots.tolist(), lengths.tolist(), new.tolist(), strict=True
            )
        ]

    def _run_sdpa_forward_extend(
        self,
        query: Tensor,
        output: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        *rest: Any,
        **options: Any,
    ) -> Tensor:
        if not options["causal"] or self._is_unusual(query, k_cache, options):
            return super()._run_sdpa_forward_extend(
                query, output, k_cache, v_cache, *rest, **options
            )
        return self._run(query, output, k_cache, v_cache, options["scaling"])

    def _run_sdpa_forward_decode(
        self,
        query: Tensor,
        output: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        *rest: Any,
        **options: Any,
    ) -> Tensor:
        if self._is_unusual(query, k_cache, options):
            return super()._run_sdpa_forward_decode(
                query, output, k_cache, v_cache, *rest, **options
            )
        if self.decoding is not None:
            scale = options["scaling"]
            if paged_decode(query, k_cache, v_cache, self.decoding, scale, output):
                return output
            table, slots, lengths = rest[:3]
            self._sequences = self._read(table, slots, lengths, torch.ones_like(lengths))
            self.decoding = None
        return self._run(query, output, k_cache, v_cache, options["scaling"])

    def _run(
        self, query: Tensor, output: Tensor, k_cache: Tensor, v_cache: Tensor, scale: float
    ) -> Tensor:
        start = 0
        for sequence in self._sequences:
            end = start + sequence.new
            paged_attention(query[start:end], k_cache, v_cache, sequence, scale, output[start:end])
            start = end
        return output

    def _is_unusual(self, query: Tensor, k_cache: Tensor, options: dict[str, Any]) -> bool:
        return (
            options["is_cross_attn"]
            or options["sliding_window_size"] is not None
            or k_cache.dtype != query.dtype
            or query.shape[1] != k_cache.shape[1] * self._group
        )
