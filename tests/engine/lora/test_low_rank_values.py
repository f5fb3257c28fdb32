"""The pool of low-rank values: whose rows count for whom, while adapters come and go."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from agentrt_engine.kernels.segments import LowRank
from agentrt_engine.sglang.lora.low_rank_values import LowRankValues
from agentrt_engine.sglang.lora.use import AdapterUse

LAYERS, SLOTS, RANK, HIDDEN = 2, 16, 4, 6
HEADS, SIZE, QUERIES = 2, 3, 12
VALUES = HEADS * SIZE

#: Adapters by name: buffer that holds their weights, rank, scaling.
WEIGHTS = {"a": (0, 4, 2.0), "b": (1, 2, 0.5), "c": (2, 4, 1.0)}


def projection() -> SimpleNamespace:
    """SGLang's, with the matrices of three adapters."""
    downs = torch.zeros(3, 3 * RANK, HIDDEN)
    ups = torch.zeros(3, QUERIES + 2 * VALUES, RANK)
    for buffer, rank, _ in WEIGHTS.values():
        downs[buffer, : 3 * rank] = torch.randn(3 * rank, HIDDEN)
        ups[buffer, :, :rank] = torch.randn(QUERIES + 2 * VALUES, rank)
    base = SimpleNamespace(q_proj_shard_size=QUERIES, kv_proj_shard_size=VALUES, num_kv_heads=HEADS)
    return SimpleNamespace(A_buffer_qkv=downs, B_buffer_qkv=ups, base_layer=base)


class Model:
    """A pool, and what a model does with it."""

    def __init__(self, *, own: bool) -> None:
        self.values = LowRankValues(LAYERS, SLOTS, RANK, torch.float32, "cpu", own=own)
        self.modules = [projection() for _ in range(LAYERS)]

    def forward(self, uses: Sequence[str | None], slots: list[list[int]]) -> list[Tensor]:
        """Inputs x of each layer, [T, hidden]."""
        flat = torch.tensor([slot for each in slots for slot in each])
        self.values.begin(uses, [len(each) for each in slots], flat, lambda use: WEIGHTS[use])
        inputs = [torch.randn(len(flat), HIDDEN) for _ in range(LAYERS)]
        if self.values.batch is not None:
            for layer, module in enumerate(self.modules):
                self.values.write(layer, inputs[layer], module)
        return inputs

    def added(self, layer: int, sequence: int, slot: int) -> Tensor:
        """What attention adds to the value of a slot in a sequence, [values]."""
        low_rank = self.values.of(layer)
        assert isinstance(low_rank, LowRank)
        row = int(low_rank.adapters[sequence])
        if row < 0:
            return torch.zeros(VALUES)
        if low_rank.producers is not None and int(low_rank.producers[slot, 0]) != row:
            return torch.zeros(VALUES)
        rank = int(low_rank.ranks[row])
        return (low_rank.pool[slot, 0, :rank] @ low_rank.up[row, :, :rank]).flatten()

    def expected(self, layer: int, name: str, x: Tensor) -> Tensor:
        """(x·A)·B of the values, scaled."""
        return self.across(layer, name, name, x)

    def across(self, layer: int, producer: str, reader: str, x: Tensor) -> Tensor:
        """The producer's x·A under the reader's B."""
        module = self.modules[layer]
        wrote, rank, _ = WEIGHTS[producer]
        reads, own_rank, scaling = WEIGHTS[reader]
        low = torch.zeros(RANK)
        low[:rank] = module.A_buffer_qkv[wrote, 2 * rank : 3 * rank] @ x
        up = module.B_buffer_qkv[reads, QUERIES + VALUES :, :own_rank]
        result: Tensor = up @ low[:own_rank] * scaling
        return result


def shared(name: str) -> AdapterUse:
    return AdapterUse(name, shared=True)


@pytest.mark.parametrize("own", [True, False])
def test_each_sequence_gets_its_own_adapters_part(own: bool) -> None:
    model = Model(own=own)
    uses = [shared("b"), None, AdapterUse("c"), shared("a")]
    inputs = model.forward(uses, [[3, 1], [4], [5], [0]])
    for layer in range(LAYERS):
        x = inputs[layer]
        torch.testing.assert_close(model.added(layer, 0, 1), model.expected(layer, "b", x[1]))
        torch.testing.assert_close(model.added(layer, 3, 0), model.expected(layer, "a", x[4]))
        # Neither the base model nor a request that does not share reads anything.
        assert not model.added(layer, 1, 3).any()
        assert not model.added(layer, 2, 3).any()


def test_a_row_counts_for_its_producer_or_for_all() -> None:
    for own in (True, False):
        model = Model(own=own)
        inputs = model.forward([shared("a")], [[7]])
        model.forward([shared("b")], [[8]])
        for layer in range(LAYERS):
            across = model.across(layer, "a", "b", inputs[layer][0])
            wanted = torch.zeros(VALUES) if own else across
            torch.testing.assert_close(model.added(layer, 0, 7), wanted)


def test_a_row_of_low_rank_ends_where_it_ends() -> None:
    model = Model(own=False)
    model.forward([shared("a")], [[7]])
    inputs = model.forward([shared("b")], [[7]])
    model.forward([shared("c")], [[8]])
    across = model.across(0, "b", "c", inputs[0][0])
    torch.testing.assert_close(model.added(0, 0, 7), across)


def test_a_slot_belongs_to_whoever_wrote_it_last() -> None:
    model = Model(own=True)
    model.forward([shared("a")], [[7]])
    model.forward([shared("b")], [[7]])
    model.forward([shared("a")], [[9]])
    assert not model.added(0, 0, 7).any()


def test_a_dropped_adapters_rows_are_nobodys_even_if_its_place_is_taken() -> None:
    model = Model(own=True)
    model.forward([shared("a"), shared("b")], [[1], [2]])
    model.values.forget("a")
    model.values.forget("never shared")
    inputs = model.forward([shared("c"), shared("b")], [[3], [4]])
    for layer in range(LAYERS):
        assert not model.added(layer, 0, 1).any()
        assert model.added(layer, 1, 2).any()
        torch.testing.assert_close(
            model.added(layer, 0, 3), model.expected(layer, "c", inputs[layer][0])
        )


def test_without_a_sequence_that_shares_there_is_no_batch() -> None:
    model = Model(own=True)
    model.forward([shared("a")], [[1]])
    model.forward([AdapterUse("a"), None, "a"], [[1], [2], [3]])
    assert model.values.batch is None
