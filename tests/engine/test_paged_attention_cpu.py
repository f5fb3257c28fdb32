"""The CPU kernel against plain attention in float64, on fresh random inputs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt_engine.kernels.native.attention import NativeBatch
from agentrt_engine.kernels.native.library import Level
from agentrt_engine.kernels.paged_attention_cpu import (
    PagedSequence,
    paged_attention,
    paged_decode,
)
from agentrt_engine.kernels.reference import causal_attention
from tests.kernels.native import native_at, needs_compiler

# Largest error accepted, relative to the largest output: a few roundings of each type.
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_equals_attention_in_float64(dtype: torch.dtype, data: st.DataObject) -> None:
    kv_heads = data.draw(st.integers(1, 4), "KV heads")
    group = data.draw(st.integers(1, 6), "query heads per KV head")
    size = data.draw(st.sampled_from([16, 32, 64, 80, 128]), "head size")
    length = data.draw(st.integers(1, 500), "tokens of the sequence")
    new = data.draw(st.integers(1, length), "new tokens")
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32 - 1), "seed"))

    pool = length + data.draw(st.integers(0, 50), "other rows of the pool")
    rows = torch.randperm(pool, generator=generator)[:length]

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    query = normal(new, kv_heads * group, size)
    keys, values = normal(pool, kv_heads, size), normal(pool, kv_heads, size)
    output = torch.full_like(query, float("nan"))

    sequence = PagedSequence.of(rows, new, group)
    paged_attention(query, keys, values, sequence, size**-0.5, output)

    expected = causal_attention(query, keys[rows], values[rows], size**-0.5)
    error = (output.double() - expected).abs().max() / expected.abs().max()
    assert error <= TOLERANCE[dtype]


@needs_compiler
@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(max_examples=30)
@given(data=st.data())
def test_a_batch_that_decodes_equals_attention_in_float64(
    dtype: torch.dtype, level: Level, data: st.DataObject
) -> None:
    kv_heads = data.draw(st.integers(1, 4), "KV heads")
    group = data.draw(st.integers(1, 8), "query heads per KV head")
    size = data.draw(st.sampled_from([16, 64, 80, 128]), "head size")
    lengths = data.draw(st.lists(st.integers(1, 1_200), min_size=1, max_size=4), "tokens")
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32 - 1), "seed"))

    pool, slots = sum(lengths) + 3, len(lengths) + 2
    order = torch.randperm(pool, generator=generator).int()
    # What no sequence holds must not be read: neither rows of the table nor rows of the pool.
    table = torch.full((slots, 1_300), 2**31 - 1, dtype=torch.int32)
    rows = torch.randperm(slots, generator=generator)[: len(lengths)]
    for row, held, length in zip(rows, order[:-3].split(lengths), lengths, strict=True):
        table[row, :length] = held

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    query = normal(len(lengths), kv_heads * group, size)
    keys, values = normal(pool, kv_heads, size), normal(pool, kv_heads, size)
    keys[order[-3:].long()] = values[order[-3:].long()] = float("nan")
    output = torch.full_like(query, float("nan"))
    with native_at(level):
        batch = NativeBatch.of_table(table, rows, torch.tensor(lengths))
        assert paged_decode(query, keys, values, batch, size**-0.5, output)
    for at, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        held = table[row, :length].long()
        own = slice(at, at + 1)
        expected = causal_attention(query[own], keys[held], values[held], size**-0.5)
        error = (output[own].double() - expected).abs().max() / expected.abs().max()
        assert error <= TOLERANCE[dtype]


def test_what_decoding_in_c_does_not_know_is_not_written() -> None:
    query, pool = torch.ones(1, 2, 16), torch.ones(4, 1, 16)
    output = torch.full_like(query, float("nan"))
    batch = NativeBatch.of_table(
        torch.zeros(1, 4, dtype=torch.int32), torch.tensor([0]), torch.tensor([4])
    )
    assert not paged_decode(query.half(), pool.half(), pool.half(), batch, 1.0, output.half())
    assert not paged_decode(query, pool.bfloat16(), pool, batch, 1.0, output)
    assert output.isnan().all()
