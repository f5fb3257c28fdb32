"""Random batches for the attention kernels, and what they are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from agentrt_engine.kernels.reference import segment_attention as reference
from agentrt_engine.kernels.segments import LowRank, Segments

#: Largest error accepted, relative to the largest output.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}

Kernel = Callable[[Tensor, Tensor, Tensor, Segments, float, Tensor, LowRank | None], None]


@dataclass(frozen=True, repr=False)
class Case:
    """A batch, and what its attention is."""

    query: Tensor
    keys: Tensor
    values: Tensor
    segments: Segments
    scale: float
    low_rank: LowRank | None
    expected: Tensor

    def error(self, kernel: Kernel) -> float:
        """Of a kernel, relative to the largest output; what it leaves unwritten is no number."""
        shape = (*self.query.shape[:2], self.values.shape[-1])
        output = torch.full(shape, float("nan"), dtype=self.query.dtype, device=self.query.device)
        kernel(self.query, self.keys, self.values, self.segments, self.scale, output, self.low_rank)
        if not output.numel():
            return 0.0
        assert not output.isnan().any(), "not written, or no number"
        largest = max(float(self.expected.abs().max()), 1e-3)
        return float((output.double().cpu() - self.expected).abs().max()) / largest

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(repr(self))

    def __repr__(self) -> str:
        shapes = [tuple(each.shape) for each in (self.query, self.keys, self.values)]
        return f"Case({shapes}, {self.segments.lengths.tolist()} keys, {self.low_rank is not None})"


@st.composite
def cases(
    draw: st.DrawFn,
    dtype: torch.dtype,
    *,
    with_low_rank: bool,
    most_keys: int = 300,
    device: str = "cpu",
) -> Case:
    """Ragged batches with holes, of decode and extend, empty sequences among them."""
    kv_heads = draw(st.integers(1, 3), "KV heads")
    group = draw(st.integers(1, 8), "query heads per KV head")
    size = draw(st.sampled_from([16, 32, 64, 80, 128]), "head size")
    value_size = draw(st.sampled_from([size, 32]), "head size of the values")
    page_size = draw(st.sampled_from([1, 2, 3, 16, 64]), "tokens of a page")
    sequences = draw(st.integers(1, 4), "sequences")
    holes = draw(st.booleans(), "with holes")
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1), "seed"))

    def random_sorted(count: int, below: int) -> list[int]:
        return sorted(torch.randperm(below, generator=generator)[:count].tolist())

    queries: list[list[int]] = []
    keys: list[list[int] | int] = []
    for _ in range(sequences):
        length = draw(st.integers(0, most_keys), "keys")
        new = draw(st.one_of(st.just(1), st.integers(0, 70)), "queries")
        if holes:
            positions = random_sorted(length, 2 * length + 1)
            keys.append(positions)
            # At keys of theirs, and in holes: what is computed need not be stored.
            queries.append(random_sorted(min(new, 2 * length + 1), 2 * length + 1))
        else:
            keys.append(length)
            queries.append(list(range(max(0, length - new), length)))
    needed = [-(-(len(k) if isinstance(k, list) else k) // page_size) for k in keys]
    total_pages = sum(needed) + draw(st.integers(1, 5), "other pages")
    order = torch.randperm(total_pages, generator=generator).tolist()
    pages = [[order.pop() for _ in range(count)] for count in needed]
    segments = Segments.of(queries, keys, pages, page_size, device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    total = sum(map(len, queries))
    query = normal(total, kv_heads * group, size)
    key_pool = normal(total_pages, page_size, kv_heads, size)
    value_pool = normal(total_pages, page_size, kv_heads, value_size)
    # Pages of nobody may hold anything.
    for page in order:
        key_pool[page] = value_pool[page] = float("nan")
    low_rank = None
    if with_low_rank:
        adapters = draw(st.integers(1, 3), "adapters")
        rank = draw(st.sampled_from([8, 16, 24, 64]), "widest adapter")
        ranks = [draw(st.integers(1, rank), "rank") for _ in range(adapters)]
        of = [draw(st.integers(-1, adapters - 1), "adapter") for _ in range(sequences)]
        tagged = draw(st.booleans(), "producers are known")
        pool = normal(total_pages, page_size, rank)
        producers = torch.randint(
            -1, adapters, (total_pages, page_size), generator=generator, dtype=torch.int32
        )
        if tagged:
            pool[producers == -1] = float("nan")
        for page in order:
            pool[page] = float("nan")
        low_rank = LowRank(
            pool=pool,
            up=normal(adapters, kv_heads, rank, value_size),
            ranks=torch.tensor(ranks, dtype=torch.int32),
            adapters=torch.tensor(of, dtype=torch.int32),
            producers=producers if tagged else None,
        )
    on_cpu = Segments.of(queries, keys, pages, page_size)
    scale = size**-0.5
    expected = reference(query, key_pool, value_pool, on_cpu, scale, low_rank)
    return _moved(Case(query, key_pool, value_pool, segments, scale, low_rank, expected), device)


def _moved(case: Case, device: str) -> Case:
    if device == "cpu":
        return case
    low = case.low_rank
    return Case(
        case.query.to(device),
        case.keys.to(device),
        case.values.to(device),
        case.segments,
        case.scale,
        None
        if low is None
        else LowRank(
            low.pool.to(device),
            low.up.to(device),
            low.ranks.to(device),
            low.adapters.to(device),
            None if low.producers is None else low.producers.to(device),
        ),
        case.expected,
    )
