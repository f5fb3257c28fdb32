"""Linear layers of few input rows in bfloat16, in C: for decoding, where reading the weights is all
the time there is. torch's own reads them at half the memory's rate."""

from __future__ import annotations

import torch
from torch import Tensor

from agentrt_engine.kernels.native.library import Library

#: With more rows it is no longer the weights that take the time.
MOST_ROWS = 16

_LEAST_OUTPUTS = 4


def is_supported(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether `linear` takes these: bfloat16, [M, N] of few rows, whole rows of weights."""
    return (
        inputs.dtype is torch.bfloat16
        and weight.dtype is torch.bfloat16
        and inputs.dim() == 2
        and 1 <= inputs.shape[0] <= MOST_ROWS
        and weight.shape[0] >= _LEAST_OUTPUTS
        and inputs.stride(1) == 1
        and weight.is_contiguous()
        and (bias is None or (bias.dtype is torch.bfloat16 and bias.is_contiguous()))
    )


def linear(library: Library, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`, summed in float and rounded once.

    A row of the result depends on its row of the input and on nothing else, not even on how many
    rows there are.

    Args:
        inputs: [M, K]; see `is_supported`.
        weight: [N, K].
        bias: [N].

    Returns:
        [M, N].

    Raises:
        MemoryError: no memory for a copy of the inputs.
    """
    rows, size = inputs.shape
    outputs = weight.shape[0]
    result = torch.empty((rows, outputs), dtype=torch.bfloat16)
    if library.linear(
        inputs.data_ptr(),
        inputs.stride(0),
        weight.data_ptr(),
        None if bias is None else bias.data_ptr(),
        result.data_ptr(),
        outputs,
        rows,
        outputs,
        size,
        torch.get_num_threads(),
    ):
        raise MemoryError("linear: no memory for a copy of the inputs")
    return result
