"""What KV agents share that differ only by a LoRA adapter."""

from __future__ import annotations

from enum import StrEnum


class LoraSharing(StrEnum):
    """Mode of an engine. In each, a request shares only if it asks for it, and one for the base
    model never reads what an adapter left.

    Attributes:
        OFF: nothing; each adapter has a namespace of its own.
        ALORA: what lies before an adapter's invocation tokens, which is the base model's (activated
            LoRA, arXiv 2512.17910). Exact.
        BASE: K and the base part of V, whichever adapter wrote them (LRAgent, arXiv 2602.01053);
            the low-rank part of V counts for the adapter that wrote it. Exact for the producing
            adapter, approximate for the others.
        BASE_LR: that, and the low-rank part counts for every adapter, as suits adapters that have
            the matrix A in common.
    """

    OFF = "off"
    ALORA = "alora"
    BASE = "base"
    BASE_LR = "base-lr"

    @property
    def splits_values(self) -> bool:
        """Whether the low-rank part of values is kept apart from their base part."""
        return self in (LoraSharing.BASE, LoraSharing.BASE_LR)
