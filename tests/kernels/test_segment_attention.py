"""Attention over segments on the CPU, against float64 on fresh random inputs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt_engine.kernels.reference import causal_attention
from agentrt_engine.kernels.reference import segment_attention as reference
from agentrt_engine.kernels.segment_attention import segment_attention
from agentrt_engine.kernels.segments import LowRank, Segments
from tests.kernels.cases import TOLERANCE, cases


@pytest.mark.parametrize("with_low_rank", [False, True], ids=["plain", "low-rank"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_equals_attention_in_float64(
    dtype: torch.dtype, with_low_rank: bool, data: st.DataObject
) -> None:
    case = data.draw(cases(dtype, with_low_rank=with_low_rank))
    assert case.error(segment_attention) <= TOLERANCE[dtype]


def test_the_reference_of_a_context_without_holes_is_causal_attention() -> None:
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(5, 4, 16, generator=generator)
    keys, values = torch.randn(2, 20, 1, 2, 16, generator=generator)
    segments = Segments.of([range(15, 20)], [20], [range(20)], 1)
    found = reference(query, keys, values, segments, 0.25)
    expected = causal_attention(query, keys.squeeze(1), values.squeeze(1), 0.25)
    torch.testing.assert_close(found, expected)


def test_a_hole_that_is_filled_is_as_if_there_had_been_none() -> None:
    """The queries of a hole and those after the cached part behind it, in one launch."""
    generator = torch.Generator().manual_seed(2)
    length, hole, cached = 90, range(20, 40), range(40, 70)
    query = torch.randn(length, 6, 32, generator=generator)
    keys, values = torch.randn(2, length, 1, 2, 32, generator=generator)
    expected = causal_attention(query, keys.squeeze(1), values.squeeze(1), 0.2)
    new = [*hole, *range(cached.stop, length)]
    segments = Segments.of([new], [length], [range(length)], 1)
    output = torch.empty(len(new), 6, 32)
    segment_attention(query[new], keys, values, segments, 0.2, output)
    torch.testing.assert_close(output.double(), expected[new], rtol=0, atol=1e-5)


def test_the_base_model_reads_nothing_of_adapters() -> None:
    """Not even where what they wrote is no number."""
    segments = Segments.of([[3], [3]], [4, 4], [[0], [1]], 4)
    query, keys = torch.ones(2, 2, 16), torch.ones(2, 4, 1, 16)
    values = torch.ones(2, 4, 1, 16)
    pool = torch.ones(2, 4, 8)
    pool[1] = float("nan")
    low_rank = LowRank(
        pool=pool,
        up=torch.ones(1, 1, 8, 16),
        ranks=torch.tensor([8], dtype=torch.int32),
        adapters=torch.tensor([0, -1], dtype=torch.int32),
    )
    output = torch.empty(2, 2, 16)
    segment_attention(query, keys, values, segments, 1.0, output, low_rank)
    assert output[0].eq(9.0).all()
    assert output[1].eq(1.0).all()


@pytest.mark.parametrize(
    ("queries", "keys", "pages", "says"),
    [
        ([[0]], [1, 1], [[0]], "1 lists of queries, 2 of keys, 1 of pages"),
        ([[0]], [[1, 1]], [[0]], "positions of the keys of sequence 0 do not ascend"),
        ([[0], [0]], [1, 3], [[0], [0]], "sequence 1 has 3 keys and 1 pages of 2"),
    ],
)
def test_layouts_that_cannot_be(
    queries: list[list[int]], keys: list[list[int] | int], pages: list[list[int]], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        Segments.of(queries, keys, pages, 2)


def test_shapes_that_do_not_fit() -> None:
    segments = Segments.of([[0]], [1], [[0]], 4)
    query, pool, output = torch.ones(1, 4, 16), torch.ones(2, 4, 2, 16), torch.ones(1, 4, 16)
    with pytest.raises(ValueError, match=r"keys has shape \(2, 4, 1, 16\), expected \(2, 4, 2, 16"):
        segment_attention(query, pool[:, :, :1], pool, segments, 1.0, output)
    with pytest.raises(ValueError, match=r"output is torch.float64, expected torch.float32"):
        segment_attention(query, pool, pool, segments, 1.0, output.double())
    with pytest.raises(ValueError, match=r"3 query heads do not divide by 2 KV heads"):
        segment_attention(query[:, :3], pool, pool, segments, 1.0, output[:, :3])
