"""Attention in C, at every level of the processor, against float64 on fresh random inputs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt_engine.kernels.native.attention import MOST_QUERIES, NativeBatch, attention
from agentrt_engine.kernels.native.library import Level
from agentrt_engine.kernels.reference import segment_attention as reference
from agentrt_engine.kernels.segment_attention import segment_attention
from agentrt_engine.kernels.segments import Segments
from tests.kernels.cases import TOLERANCE, cases
from tests.kernels.native import native_at, needs_compiler

pytestmark = needs_compiler


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(max_examples=50)
@given(data=st.data())
def test_equals_attention_in_float64(level: Level, dtype: torch.dtype, data: st.DataObject) -> None:
    with_low_rank = data.draw(st.booleans(), "with low-rank values")
    case = data.draw(cases(dtype, with_low_rank=with_low_rank, most_keys=700))
    with native_at(level):
        assert case.error(segment_attention) <= TOLERANCE[dtype]


@pytest.mark.parametrize("level", Level)
def test_one_rounding_to_bfloat16(level: Level) -> None:
    """The sums are of type float: what is lost is the half of a last place, and nothing before."""
    generator = torch.Generator().manual_seed(3)
    query = torch.randn(1, 6, 64, generator=generator).bfloat16()
    keys, values = torch.randn(2, 70, 16, 2, 64, generator=generator).bfloat16()
    segments = Segments.of([[1_100]], [1_101], [range(69)], 16)
    expected = reference(query, keys, values, segments, 0.125)
    output = torch.full_like(query, float("nan"))
    with native_at(level) as native:
        attention(native, NativeBatch.of_segments(segments), query, keys, values, 0.125, output)
    error = (output.double() - expected).abs()
    assert (error <= expected.abs() * 2.0**-8 + 1e-6).all()


def test_many_queries_are_left_to_torch() -> None:
    """Of sequences in one batch, those with few queries are written and no others."""
    few, many = MOST_QUERIES, MOST_QUERIES + 1
    segments = Segments.of([range(few), range(many)], [few, many], [[0], [1]], 16)
    query = torch.ones(few + many, 2, 16)
    pool = torch.ones(2, 16, 1, 16)
    output = torch.full_like(query, float("nan"))
    with native_at(Level.PORTABLE) as native:
        attention(native, NativeBatch.of_segments(segments), query, pool, pool, 1.0, output)
    assert output[:few].eq(1.0).all()
    assert output[few:].isnan().all()


def test_neither_threads_nor_the_rest_of_the_batch_change_an_answer() -> None:
    generator = torch.Generator().manual_seed(4)
    query = torch.randn(3, 6, 64, generator=generator).bfloat16()
    keys, values = torch.randn(2, 3_000, 1, 2, 64, generator=generator).bfloat16()
    lengths = [900, 1, 2_000]
    pages = [range(900), [900], range(901, 2_901)]
    together = Segments.of([[each - 1] for each in lengths], lengths, pages, 1)
    threads = torch.get_num_threads()
    output, other = torch.empty_like(query), torch.empty_like(query)
    try:
        torch.set_num_threads(2)
        segment_attention(query, keys, values, together, 0.125, output)
        torch.set_num_threads(1)
        for at, length in enumerate(lengths):
            alone = Segments.of([[length - 1]], [length], [pages[at]], 1)
            own = slice(at, at + 1)
            segment_attention(query[own], keys, values, alone, 0.125, other[own])
    finally:
        torch.set_num_threads(threads)
    assert output.equal(other)
