"""The CPU kernel against plain attention in float64, on fresh random inputs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt_engine.kernels.paged_attention_cpu import PagedSequence, paged_attention
from agentrt_engine.kernels.reference import causal_attention

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
