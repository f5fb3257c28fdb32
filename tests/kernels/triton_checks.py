"""The Triton kernels: on a GPU if there is one, else interpreted (TRITON_INTERPRET=1).

TRITON_INTERPRET=1 pytest tests/kernels/triton_checks.py
"""

from __future__ import annotations

import os
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt_engine.kernels.segment_attention_triton import segment_attention_triton
from tests.kernels.cases import TOLERANCE, cases

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EXAMPLES, MOST_KEYS = (300, 2_000) if DEVICE == "cuda" else (5, 200)


@pytest.mark.skipif(
    DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1",
    reason="without a GPU kernels are interpreted: TRITON_INTERPRET=1",
)
@pytest.mark.parametrize("parts", [1, 3, None], ids=["whole", "split", "chosen"])
@pytest.mark.parametrize("with_low_rank", [False, True], ids=["plain", "low-rank"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(deadline=None, max_examples=EXAMPLES)
@given(data=st.data())
def test_equals_attention_in_float64(
    dtype: torch.dtype, with_low_rank: bool, parts: int | None, data: st.DataObject
) -> None:
    case = data.draw(cases(dtype, with_low_rank=with_low_rank, most_keys=MOST_KEYS, device=DEVICE))
    assert case.error(partial(segment_attention_triton, parts=parts)) <= TOLERANCE[dtype]
