"""LoRA adapters over one base model: whose KV is the same, and what they cost an engine.

A profile does not say what a model is made of, so what its adapters cost is derived from the
layers of Llama 3.1: 8 KV heads of 128, in the 8B model as in the 70B one. Adapters change the
projections of queries and values. The cost model is in `docs/policies.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.policy.protocol import Costs

HEAD_SIZE: Final = 128
#: Values of K and V per token and layer; a row of the low-rank pool has as many as the rank.
KV_VALUES: Final = 2 * 8 * HEAD_SIZE
#: Weights of one adapter per weight of the base model and unit of rank: A and B of queries
#: (4,096 in, 4,096 out) and of values (4,096 in, 1,024 out) in 32 layers of a model of 8.03e9.
WEIGHTS_PER_RANK: Final = (4096 + 4096 + 4096 + 1024) * 32 / 8.03e9

#: Of a rank that nobody gave: that of LRAgent.
DEFAULT_RANK: Final = 8

#: The namespace of all adapters that share theirs; the base model's is None.
_TOGETHER: Final = ""


def namespace(sharing: LoraSharing, adapter: str | None) -> str | None:
    """Where prompts that begin alike find each other's KV: those of one namespace do.

    Args:
        adapter: None for the base model.
    """
    if adapter is None or sharing is LoraSharing.ALORA:
        return None
    if sharing is LoraSharing.OFF:
        return f"/{adapter}"
    return _TOGETHER


def reuses_outputs(sharing: LoraSharing, adapter: str | None) -> bool:
    """Whether a turn finds the KV of what the turn before generated.

    An activated adapter is invoked anew at the end of each prompt. What it generated after its
    last invocation lies before the next one, where the KV is the base model's: computed again.
    """
    return adapter is None or sharing is not LoraSharing.ALORA


@dataclass(frozen=True, slots=True)
class Adapters:
    """The adapters that an engine serves.

    Attributes:
        number: of them; at 0 nothing costs anything.
        rank: of all of them.
    """

    number: int = 0
    sharing: LoraSharing = LoraSharing.OFF
    rank: int = DEFAULT_RANK

    @property
    def _pool_rank(self) -> int:
        """Values of a row of the low-rank pool; 0 where there is none."""
        pooled = self.number > 0 and self.sharing.splits_values
        return self.rank if pooled else 0

    @property
    def low_rank_share(self) -> float:
        """Bytes of the low-rank pool per byte of KV."""
        return self._pool_rank / KV_VALUES

    def fitting(self, kv_tokens: int) -> int:
        """Tokens that the memory of `kv_tokens` holds when the low-rank pool is in it as well."""
        return kv_tokens * KV_VALUES // (KV_VALUES + self._pool_rank)

    def costs(self, costs: Costs) -> Costs:
        """What the steps of an engine cost that cost this without adapters.

        A step reads the weights of all adapters. What is prefilled passes through one, but for
        activated ones, whose prompts are the base model's. Attention reads the low-rank rows and
        sums them up, in prefill beside the sums over K and V of each head.
        """
        if not self.number:
            return costs
        weights = self.rank * WEIGHTS_PER_RANK
        prefilling = 0.0 if self.sharing is LoraSharing.ALORA else weights
        read = 1.0 + self.low_rank_share
        summed = 1.0 + self._pool_rank / (2 * HEAD_SIZE)
        return replace(
            costs,
            fixed_s=costs.fixed_s * (1.0 + self.number * weights),
            decode_s=costs.decode_s * read,
            prefill_s=costs.prefill_s * (1.0 + prefilling),
            position_s=costs.position_s * summed,
            host_s=None if costs.host_s is None else costs.host_s * read,
        )
