"""Decoding steps of SGLang's Llama on the CPU in bfloat16, as one call of C.

What the C does not know goes layer by layer as before: prompts, other types, adapters, tensor
parallelism, scaled positions, hidden states of inner layers.
"""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

import torch
from sglang.srt.layers.activation import SiluAndMul
from sglang.srt.layers.layernorm import RMSNorm
from sglang.srt.layers.linear import (
    MergedColumnParallelLinear,
    QKVParallelLinear,
    RowParallelLinear,
)
from sglang.srt.layers.quantization.unquant import UnquantizedLinearMethod
from sglang.srt.layers.rotary_embedding.base import RotaryEmbedding
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool
from sglang.srt.model_executor.forward_context import get_attn_backend
from sglang.srt.models.llama import LlamaAttention, LlamaDecoderLayer, LlamaMLP, LlamaModel
from sglang.srt.runtime_context import get_parallel
from torch import Tensor

from agentrt_engine.kernels.native.library import Library, library
from agentrt_engine.kernels.native.linear import MOST_ROWS
from agentrt_engine.kernels.native.llama import Layer, LlamaDecoder
from agentrt_engine.sglang.cpu.attention import CpuAttention


@cache
def install() -> bool:
    """Replace the decoding steps of this process's SGLang.

    Returns:
        Whether there are native kernels; without them nothing is replaced.
    """
    native = library()
    if native is None:
        return False
    forward = LlamaModel.forward
    known: dict[Any, _Steps | None] = {}

    @wraps(forward)
    def forwarded(
        self: Any,
        input_ids: Tensor,
        positions: Tensor,
        forward_batch: Any,
        input_embeds: Tensor | None = None,
        pp_proxy_tensors: Any = None,
    ) -> Any:
        if _is_step(forward_batch, input_ids, input_embeds) and not self.layers_to_capture:
            backend = get_attn_backend()
            if self not in known:
                known[self] = _Steps.of(self, backend)
            steps = known[self]
            if steps is not None and steps.backend is backend:
                return steps.run(native, input_ids, positions, forward_batch)
        return forward(self, input_ids, positions, forward_batch, input_embeds, pp_proxy_tensors)

    LlamaModel.forward = forwarded
    return True


def _is_step(forward_batch: Any, input_ids: Tensor, input_embeds: Tensor | None) -> bool:
    return (
        forward_batch.forward_mode.is_decode()
        and len(input_ids) == forward_batch.batch_size
        and input_embeds is None
        and forward_batch.spec_info is None
        and 1 <= forward_batch.batch_size <= MOST_ROWS
    )


class _Steps:
    """One model with its pool. Its tensors may be replaced: then they are looked up again."""

    def __init__(self, model: Any, backend: Any) -> None:
        self.backend = backend
        self._model = model
        self._places = [
            (model.norm._parameters, "weight"),
            (model.layers[0].self_attn.rotary_emb._buffers, "cos_sin_cache"),
            *((each._parameters, "weight") for layer in model.layers for each in _linked(layer)),
        ]
        self._addresses: list[int] = []
        self._decoder: LlamaDecoder | None = None

    @classmethod
    def of(cls, model: Any, backend: Any) -> _Steps | None:
        """None for a model that the C does not know."""
        known = isinstance(backend, CpuAttention) and _is_known(model, backend)
        return cls(model, backend) if known else None

    def run(
        self, native: Library, input_ids: Tensor, positions: Tensor, forward_batch: Any
    ) -> Tensor:
        """The last hidden states, [B, hidden]."""
        return self._current().step(
            native,
            self.backend.decoding,
            positions.to(torch.int64).contiguous(),
            forward_batch.out_cache_loc.to(torch.int64).contiguous(),
            self._model.embed_tokens(input_ids),
        )

    def _current(self) -> LlamaDecoder:
        addresses = [tensors[name].data_ptr() for tensors, name in self._places]
        if self._decoder is None or addresses != self._addresses:
            self._decoder = _decoder(self._model, self.backend.token_to_kv_pool)
            self._addresses = addresses
        return self._decoder


def _linked(layer: Any) -> tuple[Any, ...]:
    """The modules of a layer whose weights the C reads, in the order of its arguments."""
    attention, mlp = layer.self_attn, layer.mlp
    return (
        *(layer.input_layernorm, attention.qkv_proj, attention.o_proj),
        *(layer.post_attention_layernorm, mlp.gate_up_proj, mlp.down_proj),
    )


def _layer(layer: Any, pool: Any) -> Layer:
    input_norm, qkv, output, post_norm, gate_up, down = map(_weight, _linked(layer))
    bias, number = layer.self_attn.qkv_proj.bias, layer.self_attn.attn.layer_id
    return Layer(
        input_norm=input_norm,
        qkv=qkv,
        qkv_bias=None if bias is None else bias.data,
        output=output,
        post_norm=post_norm,
        gate_up=gate_up,
        down=down,
        keys=pool.get_key_buffer(number),
        values=pool.get_value_buffer(number),
    )


def _weight(module: Any) -> Any:
    return module.weight.data


def _decoder(model: Any, pool: Any) -> LlamaDecoder:
    attention = model.layers[0].self_attn
    return LlamaDecoder(
        [_layer(each, pool) for each in model.layers],
        _weight(model.norm),
        attention.rotary_emb.cos_sin_cache,
        heads=attention.num_heads,
        scale=attention.scaling,
        epsilon=model.norm.variance_epsilon,
    )


def _is_known(model: Any, backend: Any) -> bool:
    pool = backend.token_to_kv_pool
    return (
        get_parallel().tp_size == 1
        and model.pp_group.world_size == 1
        and type(pool) is MHATokenToKVPool
        and pool.dtype is torch.bfloat16
        and pool.store_dtype is torch.bfloat16
        and pool.layer_transfer_counter is None
        and all(_is_norm(each, model.norm.variance_epsilon) for each in _norms(model))
        and all(_is_known_layer(each) for each in model.layers)
        and len({_alike(each) for each in model.layers}) == 1
    )


def _is_known_layer(layer: Any) -> bool:
    attention, mlp = layer.self_attn, layer.mlp
    rotary = attention.rotary_emb
    return (
        type(layer) is LlamaDecoderLayer
        and type(attention) is LlamaAttention
        and type(mlp) is LlamaMLP
        and type(mlp.act_fn) is SiluAndMul
        and type(attention.qkv_proj) is QKVParallelLinear
        and type(attention.o_proj) is RowParallelLinear
        and type(mlp.gate_up_proj) is MergedColumnParallelLinear
        and type(mlp.down_proj) is RowParallelLinear
        and all(
            type(each.quant_method) is UnquantizedLinearMethod
            and each.weight.dtype is torch.bfloat16
            for each in (attention.qkv_proj, attention.o_proj, mlp.gate_up_proj, mlp.down_proj)
        )
        and all(each.bias is None for each in (attention.o_proj, mlp.gate_up_proj, mlp.down_proj))
        and type(rotary) is RotaryEmbedding
        and rotary.is_neox_style
        and rotary.rotary_dim == rotary.head_size == attention.head_dim
        and rotary.cos_sin_cache.dtype is torch.bfloat16
        and attention.attn.sliding_window_size in (None, -1)
        and not attention.attn.logit_cap
        and attention.attn.v_head_dim == attention.attn.qk_head_dim
    )


def _norms(model: Any) -> list[Any]:
    of_layers = ((each.input_layernorm, each.post_attention_layernorm) for each in model.layers)
    return [model.norm, *(norm for pair in of_layers for norm in pair)]


def _is_norm(norm: Any, epsilon: float) -> bool:
    return (
        type(norm) is RMSNorm
        and norm.variance_epsilon == epsilon
        and norm.weight.dtype is torch.bfloat16
        and norm.variance_size_override is None
        and not norm.cast_x_before_out_mul
        and not norm.fp32_residual
        and norm.override_orig_dtype is None
    )


def _alike(layer: Any) -> tuple[Any, ...]:
    """What all layers must have in common."""
    attention = layer.self_attn
    return (
        *(attention.num_heads, attention.num_kv_heads, attention.scaling),
        *(id(attention.rotary_emb), layer.mlp.down_proj.weight.shape),
    )
