"""LoRA for training: a frozen linear layer and a low-rank product beside it (arXiv 2106.09685)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

#: K has none: what K holds is then the same for all adapters up to the input of the layer.
TARGETS = ("q_proj", "v_proj")

#: alpha / rank, by which the product is multiplied.
SCALE = 2.0


class LowRank(torch.nn.Module):  # type: ignore[misc]
    """`base(x) + SCALE · B·(A·x)`, the latter only where the adapter acts.

    Args:
        base: the frozen layer.
        rank: rows of A.
        chance: draws A, as PEFT does: uniform up to 1/√(inputs). B begins at zero.

    Attributes:
        acting: [batch, tokens, 1], 1 where the adapter acts and 0 elsewhere; None: everywhere.
    """

    def __init__(self, base: Any, rank: int, chance: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.acting: torch.Tensor | None = None
        bound = 1 / math.sqrt(base.in_features)
        drawn = torch.rand(rank, base.in_features, generator=chance)
        self.a = torch.nn.Parameter((2 * drawn - 1) * bound)
        self.b = torch.nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [batch, tokens, inputs]."""
        product = x @ self.a.T @ self.b.T * SCALE
        return self.base(x) + (product if self.acting is None else product * self.acting)


@contextmanager
def adapted(model: Any, rank: int, chance: torch.Generator) -> Iterator[dict[str, LowRank]]:
    """A Llama-like model with new adapters on its `TARGETS`, by name of the layer, while it lasts.

    Raises:
        AttributeError: the model has no such layers.
    """
    layers: dict[str, LowRank] = {}
    for number, layer in enumerate(model.model.layers):
        for target in TARGETS:
            added = LowRank(getattr(layer.self_attn, target), rank, chance)
            layers[f"model.layers.{number}.self_attn.{target}"] = added
    _place(model, layers)
    try:
        yield layers
    finally:
        _place(model, {name: layer.base for name, layer in layers.items()})


def _place(model: Any, layers: dict[str, Any]) -> None:
    for name, layer in layers.items():
        holder, _, target = name.rpartition(".")
        setattr(model.get_submodule(holder), target, layer)


def acting_from(ids: torch.Tensor, invocation: list[int]) -> torch.Tensor:
    """Where an activated adapter acts: from the last occurrence of the invocation tokens on, them
    included; nowhere in a row without any.

    Args:
        ids: [batch, tokens].

    Returns:
        [batch, tokens, 1] of zeros and ones.
    """
    wanted = torch.tensor(invocation)
    acting = torch.zeros(*ids.shape, 1)
    if ids.shape[1] < len(invocation):
        return acting
    starts = (ids.unfold(1, len(invocation), 1) == wanted).all(-1)
    for row, found in enumerate(starts):
        if found.any():
            acting[row, int(found.nonzero()[-1]) :] = 1.0
    return acting
