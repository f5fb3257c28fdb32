"""A decoding step in C, at every level of the processor, against one written out in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from agentrt_engine.kernels.native.attention import NativeBatch
from agentrt_engine.kernels.native.library import Level
from agentrt_engine.kernels.native.llama import Layer, LlamaDecoder
from agentrt_engine.kernels.reference import causal_attention
from tests.kernels.native import native_at, needs_compiler

pytestmark = needs_compiler

HEADS, KV_HEADS, SIZE, HIDDEN, INTERMEDIATE, POOL = 6, 2, 16, 72, 100, 40
EPSILON, SCALE = 1e-5, SIZE**-0.5


@pytest.mark.parametrize("biased", [False, True], ids=["plain", "biased"])
@pytest.mark.parametrize("level", Level)
def test_equals_a_step_in_float64(level: Level, biased: bool) -> None:
    generator = torch.Generator().manual_seed(6)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=generator) * scale).bfloat16()

    wide = (HEADS + 2 * KV_HEADS) * SIZE
    layers = [
        Layer(
            input_norm=normal(HIDDEN),
            qkv=normal(wide, HIDDEN, scale=0.1),
            qkv_bias=normal(wide) if biased else None,
            output=normal(HIDDEN, HEADS * SIZE, scale=0.1),
            post_norm=normal(HIDDEN),
            gate_up=normal(2 * INTERMEDIATE, HIDDEN, scale=0.1),
            down=normal(HIDDEN, INTERMEDIATE, scale=0.1),
            keys=normal(POOL, KV_HEADS, SIZE),
            values=normal(POOL, KV_HEADS, SIZE),
        )
        for _ in range(3)
    ]
    final_norm, rotations = normal(HIDDEN), normal(32, SIZE)
    lengths = torch.tensor([5, 1, 17])
    order = torch.randperm(POOL, generator=generator)
    table = torch.stack([order[:17], order[17:34], order[23:40]]).int()
    table_rows = torch.tensor([1, 0, 2])
    positions = lengths - 1
    slots = table[table_rows, positions].long()
    embedded = normal(3, HIDDEN)
    # The new tokens' own rows are written by the step.
    for layer in layers:
        layer.keys[slots] = layer.values[slots] = float("nan")
    seen = [table[row, :length].long() for row, length in zip(table_rows, lengths, strict=True)]
    expected = _step(layers, final_norm, rotations, seen, positions, slots, embedded)

    decoder = LlamaDecoder(layers, final_norm, rotations, heads=HEADS, scale=SCALE, epsilon=EPSILON)
    with native_at(level) as native:
        batch = NativeBatch.of_table(table, table_rows, lengths)
        found = decoder.step(native, batch, positions, slots, embedded)
    # Some ten roundings to bfloat16 per layer.
    assert (found.double() - expected).abs().max() <= 0.03 * expected.abs().max()
    assert not any(layer.keys.isnan().any() or layer.values.isnan().any() for layer in layers)


def test_tensors_it_cannot_read() -> None:
    one = torch.ones(16, 1, 16).bfloat16()
    norm, weight = torch.ones(16).bfloat16(), torch.ones(48, 16).bfloat16()
    layer = Layer(norm, weight, None, weight[:16], norm, weight[:32], weight[:16].float(), one, one)
    with pytest.raises(ValueError, match=r"expected contiguous bfloat16, found torch.float32"):
        LlamaDecoder([layer], norm, weight, heads=1, scale=1.0, epsilon=EPSILON)


def _step(
    layers: list[Layer],
    final_norm: Tensor,
    rotations: Tensor,
    seen: list[Tensor],
    positions: Tensor,
    slots: Tensor,
    embedded: Tensor,
) -> Tensor:
    stream = embedded.double()
    turns = rotations[positions].double()[:, None]
    for layer in layers:
        qkv = _norm(stream, layer.input_norm) @ layer.qkv.double().T
        if layer.qkv_bias is not None:
            qkv = qkv + layer.qkv_bias.double()
        heads = qkv.view(len(stream), -1, SIZE)
        query = _rotated(heads[:, :HEADS], turns)
        keys, values = layer.keys.double(), layer.values.double()
        keys[slots] = _rotated(heads[:, HEADS : HEADS + KV_HEADS], turns)
        values[slots] = heads[:, HEADS + KV_HEADS :]
        attended = torch.cat(
            [
                causal_attention(query[at : at + 1], keys[rows], values[rows], SCALE)
                for at, rows in enumerate(seen)
            ]
        )
        stream = stream + attended.flatten(1) @ layer.output.double().T
        both = _norm(stream, layer.post_norm) @ layer.gate_up.double().T
        gate, up = both.chunk(2, -1)
        stream = stream + (torch.nn.functional.silu(gate) * up) @ layer.down.double().T
    return _norm(stream, final_norm)


def _norm(stream: Tensor, weight: Tensor) -> Tensor:
    mean = stream.square().mean(-1, keepdim=True)
    return stream / (mean + EPSILON).sqrt() * weight.double()


def _rotated(heads: Tensor, turns: Tensor) -> Tensor:
    (x, y), (cosine, sine) = heads.chunk(2, -1), turns.chunk(2, -1)
    return torch.cat([x * cosine - y * sine, y * cosine + x * sine], -1)
