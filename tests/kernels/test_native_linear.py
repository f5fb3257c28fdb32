"""Linear layers in C, at every level of the processor, against float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt_engine.kernels.native.library import Level
from agentrt_engine.kernels.native.linear import MOST_ROWS, is_supported, linear
from tests.kernels.native import native_at, needs_compiler

pytestmark = needs_compiler


@pytest.mark.parametrize("level", Level)
@settings(max_examples=100)
@given(
    rows=st.integers(1, MOST_ROWS),
    outputs=st.integers(4, 150),
    size=st.one_of(st.integers(1, 200), st.sampled_from([576, 1536])),
    biased=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_product_in_float64(
    level: Level, rows: int, outputs: int, size: int, biased: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).bfloat16()

    # Every second row of a wider matrix: rows need not follow each other.
    inputs, weight = normal(2 * rows, size)[::2], normal(outputs, size)
    bias = normal(outputs) if biased else None
    assert is_supported(inputs, weight, bias)
    with native_at(level) as native:
        found = linear(native, inputs, weight, bias)
    expected = inputs.double() @ weight.double().T
    if bias is not None:
        expected += bias.double()
    terms = inputs.double().abs() @ weight.double().abs().T
    assert ((found.double() - expected).abs() <= expected.abs() * 2.0**-8 + terms * 1e-6).all()


def test_neither_threads_nor_the_rest_of_the_batch_change_an_answer() -> None:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(MOST_ROWS, 577, generator=generator).bfloat16()
    weight = torch.randn(1_003, 577, generator=generator).bfloat16()
    threads = torch.get_num_threads()
    with native_at(Level.PORTABLE) as native:
        for level in Level:
            if level > native.best:
                break
            native.use(level)
            try:
                torch.set_num_threads(2)
                together = linear(native, inputs, weight)
                torch.set_num_threads(1)
                alone = [linear(native, inputs[at : at + 1], weight) for at in range(MOST_ROWS)]
            finally:
                torch.set_num_threads(threads)
            assert together.equal(torch.cat(alone))


def test_no_number_stays_none() -> None:
    inputs = torch.ones(1, 40).bfloat16()
    weight = torch.ones(8, 40).bfloat16()
    weight[3, 39] = float("nan")
    weight[4, 2] = float("inf")
    with native_at(Level.PORTABLE) as native:
        for level in range(native.best + 1):
            native.use(Level(level))
            found = linear(native, inputs, weight)[0]
            assert found[3].isnan()
            assert found[4].isinf()
            assert found[[0, 1, 2, 5, 6, 7]].eq(40.0).all()


def test_what_is_left_to_torch() -> None:
    inputs, weight = torch.ones(2, 8).bfloat16(), torch.ones(8, 8).bfloat16()
    assert is_supported(inputs, weight, None)
    assert not is_supported(inputs.float(), weight, None)
    assert not is_supported(inputs, weight.float(), None)
    assert not is_supported(inputs[None], weight, None)
    assert not is_supported(inputs[:0], weight, None)
    assert not is_supported(inputs.repeat(MOST_ROWS, 1), weight, None)
    assert not is_supported(inputs, weight[:3], None)
    assert not is_supported(inputs, torch.ones(8, 16).bfloat16()[:, ::2], None)
    assert not is_supported(inputs, weight, torch.ones(8))
