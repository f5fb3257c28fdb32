"""Values without their low-rank part, and that part in a pool of its own (LRAgent).

Requests that share KV across adapters write V = x·W to the KV pool, as the base model would, and
x·A to the pool here, at the same slots. Attention adds (P·(x·A))·B. Who wrote a row is noted where
rows are of use to their producer only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agentrt_engine.kernels.segments import LowRank
from agentrt_engine.sglang.lora.use import AdapterUse

#: Rows of no adapter.
_NOBODY = -1


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive tokens of a batch that share, under one adapter.

    Attributes:
        tokens: of the batch.
        row: of the adapter in `up`.
        buffer: of SGLang's that holds its weights.
    """

    tokens: slice
    row: int
    buffer: int
    rank: int
    scaling: float


@dataclass(frozen=True, slots=True)
class SharingBatch:
    """A forward pass with sequences that share.

    Attributes:
        slots: of the KV pool that its tokens are written to.
        adapters: row of each sequence's adapter, -1 without one that shares, int32 [B].
        rows: which of its tokens share, int64.
    """

    slots: Tensor
    adapters: Tensor
    rows: Tensor
    runs: tuple[_Run, ...]


class LowRankValues:
    """The low-rank part of values: pool, producers and the matrices B, layer by layer.

    Attributes:
        batch: the forward pass under way; None where none of its sequences shares.
    """

    def __init__(
        self, layers: int, slots: int, rank: int, dtype: torch.dtype, device: str, *, own: bool
    ) -> None:
        """
        Args:
            slots: of the KV pool.
            rank: the highest there may be.
            own: rows count for their producer only.
        """
        self._pool = torch.zeros(layers, slots, 1, rank, dtype=dtype, device=device)
        self._producers = (
            torch.full((slots, 1), _NOBODY, dtype=torch.int32, device=device) if own else None
        )
        self._up: list[Tensor | None] = [None] * layers
        self._known: list[set[int]] = [set() for _ in range(layers)]
        self._rows: dict[str, int] = {}
        self._ranks = torch.zeros(0, dtype=torch.int32, device=device)
        self.batch: SharingBatch | None = None

    @property
    def bytes(self) -> int:
        """Memory of the pool."""
        size: int = self._pool.nbytes
        return size

    def begin(
        self,
        uses: Sequence[str | None],
        counts: list[int],
        slots: Tensor,
        weights: Callable[[str], tuple[int, int, float]],
    ) -> None:
        """A forward pass begins.

        Args:
            uses: of its sequences.
            counts: tokens that each brings.
            slots: of the KV pool for these tokens.
            weights: of an adapter: buffer that holds them, rank, scaling.
        """
        runs = []
        adapters = [_NOBODY] * len(uses)
        start = 0
        for at, (use, count) in enumerate(zip(uses, counts, strict=True)):
            if isinstance(use, AdapterUse) and use.shared:
                buffer, rank, scaling = weights(use)
                adapters[at] = self._row(use, rank)
                tokens = slice(start, start + count)
                runs.append(_Run(tokens, adapters[at], buffer, rank, scaling))
            start += count
        if not runs:
            self.batch = None
            return
        rows = torch.cat([torch.arange(run.tokens.start, run.tokens.stop) for run in runs])
        device = slots.device
        self.batch = SharingBatch(
            slots=slots,
            adapters=torch.tensor(adapters, dtype=torch.int32, device=device),
            rows=rows.to(device),
            runs=tuple(runs),
        )
        if self._producers is not None:
            for run in runs:
                self._producers[slots[run.tokens]] = run.row

    def forget(self, adapter_id: str) -> None:
        """An adapter is dropped: nobody can read what it wrote as its own any more."""
        row = self._rows.pop(adapter_id, None)
        if row is None:
            return
        for known in self._known:
            known.discard(row)
        if self._producers is not None:
            self._producers.masked_fill_(self._producers == row, _NOBODY)

    def write(self, layer: int, inputs: Tensor, module: Any) -> None:
        """Write x·A of the pass's tokens.

        Args:
            inputs: x, [T, hidden size].
            module: SGLang's projection to q, k and v, which has the matrices of the adapters.
        """
        assert self.batch is not None
        for run in self.batch.runs:
            # The matrices for q, k and v lie one upon the other, as high as the adapter's rank.
            down = module.A_buffer_qkv[run.buffer, 2 * run.rank : 3 * run.rank]
            slots = self.batch.slots[run.tokens]
            self._pool[layer, slots, 0, : run.rank] = inputs[run.tokens] @ down.T
            self._pool[layer, slots, 0, run.rank :] = 0.0
            if run.row not in self._known[layer]:
                self._learn(layer, run, module)

    def of(self, layer: int) -> LowRank | None:
        """What attention of the pass under way adds; None where no adapter alters values."""
        up = self._up[layer]
        assert self.batch is not None
        if up is None:
            return None
        return LowRank(
            pool=self._pool[layer],
            up=up,
            ranks=self._ranks,
            adapters=self.batch.adapters,
            producers=self._producers,
        )

    def _row(self, adapter_id: str, rank: int) -> int:
        row = self._rows.get(adapter_id)
        if row is None:
            taken = set(self._rows.values())
            row = next(each for each in range(len(taken) + 1) if each not in taken)
            if row == len(self._ranks):
                self._ranks = torch.cat([self._ranks, self._ranks.new_zeros(1)])
            self._ranks[row] = rank
            self._rows[adapter_id] = row
        return row

    def _learn(self, layer: int, run: _Run, module: Any) -> None:
        base = module.base_layer
        first = base.q_proj_shard_size + base.kv_proj_shard_size
        matrix = module.B_buffer_qkv[run.buffer, first : first + base.kv_proj_shard_size]
        heads, rank = base.num_kv_heads, self._pool.shape[-1]
        size = base.kv_proj_shard_size // heads
        held = self._up[layer]
        up = matrix.new_zeros(len(self._ranks), heads, rank, size)
        if held is not None:
            up[: len(held)] = held
        scaled = matrix[:, : run.rank].view(heads, size, run.rank).transpose(1, 2) * run.scaling
        up[run.row, :, : run.rank] = scaled
        self._up[layer] = up
        self._known[layer].add(run.row)
