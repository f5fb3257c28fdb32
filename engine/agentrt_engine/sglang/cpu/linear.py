"""Linear layers of SGLang on the CPU: of few rows in bfloat16 in C, all others as before."""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

from torch import Tensor

from agentrt_engine.kernels.native.library import Library, library
from agentrt_engine.kernels.native.linear import is_supported, linear


@cache
def install() -> bool:
    """Replace the matrix products of this process's SGLang: the linear layers that are not
    quantised, and the logits.

    Returns:
        Whether there are native kernels; without them nothing is replaced.
    """
    native = library()
    if native is None:
        return False
    from sglang.srt.layers.logits_processor import LogitsProcessor
    from sglang.srt.layers.quantization.unquant import UnquantizedLinearMethod

    _replace_apply(native, UnquantizedLinearMethod)
    _replace_logits(native, LogitsProcessor)
    return True


def _replace_apply(native: Library, method: Any) -> None:
    apply = method.apply

    @wraps(apply)
    def applied(self: Any, layer: Any, x: Tensor, bias: Tensor | None = None) -> Tensor:
        weight = layer.weight
        if is_supported(x, weight, bias):
            return linear(native, x, weight, bias)
        result: Tensor = apply(self, layer, x, bias)
        return result

    method.apply = applied


def _replace_logits(native: Library, processor: Any) -> None:
    compute = processor._compute_lm_head

    @wraps(compute)
    def computed(
        self: Any,
        hidden_states: Tensor,
        lm_head: Any,
        embedding_bias: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        weight = getattr(lm_head, "weight", None)
        if (
            weight is not None
            and not hasattr(lm_head, "apply_lora")
            and not self.use_fp32_lm_head
            and embedding_bias is None
            and is_supported(hidden_states, weight, None)
        ):
            return linear(native, hidden_states, weight, None)
        result: Tensor = compute(self, hidden_states, lm_head, embedding_bias, **options)
        return result

    processor._compute_lm_head = computed
