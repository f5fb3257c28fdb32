"""A decoding step of a model of the Llama family in bfloat16, as one call of C.

Of a small model on a CPU, Python between the layers takes as long as the layers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agentrt_engine.kernels.native.attention import NativeBatch
from agentrt_engine.kernels.native.library import Library, LlamaArguments, LlamaLayer, Shapes


@dataclass(frozen=True, slots=True)
class Layer:
    """Tensors of a decoder layer, all of them contiguous and in bfloat16.

    H query heads, K KV heads of size D, hidden size E, intermediate size I.

    Attributes:
        input_norm, post_norm: weights before attention and before the MLP, [E].
        qkv: [(H + 2K)·D, E].
        qkv_bias: [(H + 2K)·D], if there is one.
        output: [E, H·D].
        gate_up: [2I, E].
        down: [E, I].
        keys, values: of the pool, [P, K, D].
    """

    input_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    output: Tensor
    post_norm: Tensor
    gate_up: Tensor
    down: Tensor
    keys: Tensor
    values: Tensor

    def tensors(self) -> list[Tensor | None]:
        """All of them, in this order."""
        return [getattr(self, name) for name in self.__slots__]


class LlamaDecoder:
    """The layers of a model between the embedding and the last linear layer.

    Args:
        layers: in order.
        final_norm: weight of the last norm, [E].
        rotations: cosines, then sines of each position, bfloat16 [positions, D]; pairs of a head
            are (i, i + D/2).
        heads: H.
        scale: factor on the scores.
        epsilon: of the norms.

    Raises:
        ValueError: a tensor is not contiguous or not in bfloat16.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        final_norm: Tensor,
        rotations: Tensor,
        *,
        heads: int,
        scale: float,
        epsilon: float,
    ) -> None:
        self._tensors = [each for layer in layers for each in layer.tensors()]
        for tensor in (*self._tensors, final_norm, rotations):
            if tensor is None:
                continue
            if tensor.dtype is not torch.bfloat16 or not tensor.is_contiguous():
                raise ValueError(f"expected contiguous bfloat16, found {tensor.dtype}")
        self._kept = (final_norm, rotations)
        self._layers = (LlamaLayer * len(layers))(
            *(
                LlamaLayer(*(None if each is None else each.data_ptr() for each in layer.tensors()))
                for layer in layers
            )
        )
        _, kv_heads, size = layers[0].keys.shape
        row = kv_heads * size
        shapes = Shapes(
            bf16=1,
            heads=heads,
            kv_heads=kv_heads,
            size=size,
            value_size=size,
            query_token=heads * size + 2 * row,
            query_head=size,
            key_page=row,
            key_head=size,
            value_page=row,
            value_head=size,
            output_token=heads * size,
            output_head=size,
        )
        self._arguments = LlamaArguments(
            layers=ctypes.addressof(self._layers),
            final_norm=final_norm.data_ptr(),
            rotations=rotations.data_ptr(),
            shapes=shapes,
            count=len(layers),
            hidden=len(final_norm),
            intermediate=layers[0].down.shape[1],
            epsilon=epsilon,
            scale=scale,
        )

    def step(
        self,
        library: Library,
        batch: NativeBatch,
        positions: Tensor,
        slots: Tensor,
        embedded: Tensor,
    ) -> Tensor:
        """The last hidden states of one new token of each sequence.

        Args:
            batch: `NativeBatch.of_table`, the new tokens included.
            positions: of the new tokens, int64 [B].
            slots: where the pool takes their keys and values, int64 [B].
            embedded: bfloat16 [B, E], contiguous; overwritten.

        Returns:
            bfloat16 [B, E].

        Raises:
            MemoryError: no memory for what is between the layers.
        """
        output = torch.empty_like(embedded)
        failed: Any = library.llama_decode(
            ctypes.addressof(self._arguments),
            ctypes.addressof(batch.arguments),
            positions.data_ptr(),
            slots.data_ptr(),
            embedded.data_ptr(),
            output.data_ptr(),
            torch.get_num_threads(),
        )
        if failed:
            raise MemoryError("decode: no memory for what is between the layers")
        return output
