"""Multi-segment attention and Flash-LoRA-Attention in Triton: one kernel, with a second accumulator
for the low-rank part, and one that joins the parts of split keys.

The query heads that share a KV head become rows of one tile (GQA folding), so K and V are read
once per tile. Keys are found through their page, one by one, whatever the size of a page. Keys
ascend, so each tile ends its loop at the last key that any of its queries sees.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from agentrt_engine.kernels.segments import LowRank, Segments

#: Rows of a tile: what the tensor cores take at least, and what long prefills fill.
_LEAST_ROWS = 16
_MOST_ROWS = 64

#: Keys of a step.
_KEYS = 64

#: Keys of a part when the keys of a sequence are split, at least.
_KEYS_OF_A_PART = 512
_MOST_PARTS = 64

#: Blocks in flight that fill a large GPU; with fewer the keys are split.
_ENOUGH_BLOCKS = 264


@triton.jit
def _last_seen(positions, length, last):
    """How many of ascending positions are not after `last`."""
    low = 0
    high = length
    while low < high:
        middle = (low + high) // 2
        if tl.load(positions + middle) <= last:
            low = middle + 1
        else:
            high = middle
    return low


@triton.jit
def _dot(a, b, added, UPCAST: tl.constexpr):
    """a·b + added in float32; `UPCAST` is for the interpreter, which knows no bfloat16."""
    if UPCAST:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, added, input_precision="ieee")


@triton.jit
def attend(
    query,
    keys,
    values,
    output,
    parts,
    part_logsumexp,
    query_start,
    query_positions,
    pages,
    lengths,
    key_positions,
    low_rank,
    up,
    ranks,
    adapters,
    producers,
    scale,
    queries,
    query_token_stride,
    query_head_stride,
    key_page_stride,
    key_slot_stride,
    key_head_stride,
    value_page_stride,
    value_slot_stride,
    value_head_stride,
    output_token_stride,
    output_head_stride,
    pages_stride,
    key_positions_stride,
    low_rank_page_stride,
    low_rank_slot_stride,
    up_adapter_stride,
    up_head_stride,
    up_rank_stride,
    producers_stride,
    GROUP: tl.constexpr,
    SIZE: tl.constexpr,
    VALUE_SIZE: tl.constexpr,
    PAGE: tl.constexpr,
    PARTS: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    BLOCK_VALUE: tl.constexpr,
    BLOCK_RANK: tl.constexpr,
    HAS_HOLES: tl.constexpr,
    HAS_LOW_RANK: tl.constexpr,
    HAS_PRODUCERS: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """A tile of queries of one sequence and KV head over one part of its keys."""
    tile = tl.program_id(0)
    kv_head = tl.program_id(1)
    sequence = tl.program_id(2) // PARTS
    part = tl.program_id(2) % PARTS
    TOKENS: tl.constexpr = ROWS // GROUP

    first = tl.load(query_start + sequence)
    count = tl.load(query_start + sequence + 1) - first
    if tile * TOKENS >= count:
        return
    row = tl.arange(0, ROWS)
    token = tile * TOKENS + row // GROUP
    is_row = (row < TOKENS * GROUP) & (token < count)
    head = kv_head * GROUP + row % GROUP
    at = first + token
    position = tl.load(query_positions + at, mask=is_row, other=-1)

    length = tl.load(lengths + sequence)
    last = tl.max(position, 0)
    if HAS_HOLES:
        own_positions = key_positions + sequence.to(tl.int64) * key_positions_stride
        seen = _last_seen(own_positions, length, last)
    else:
        seen = tl.minimum(length, last + 1)
    steps = tl.cdiv(tl.cdiv(seen, KEYS), PARTS)
    begin = part * steps * KEYS
    end = tl.minimum(seen, begin + steps * KEYS)

    dim = tl.arange(0, BLOCK_SIZE)
    value_dim = tl.arange(0, BLOCK_VALUE)
    rank_dim = tl.arange(0, BLOCK_RANK)
    q = tl.load(
        query
        + at.to(tl.int64)[:, None] * query_token_stride
        + head[:, None] * query_head_stride
        + dim[None, :],
        mask=is_row[:, None] & (dim[None, :] < SIZE),
        other=0.0,
    )

    adapter = -1
    rank = 0
    if HAS_LOW_RANK:
        adapter = tl.load(adapters + sequence)
        if adapter >= 0:
            rank = tl.load(ranks + adapter)

    largest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    found = tl.zeros([ROWS, BLOCK_VALUE], tl.float32)
    found_low = tl.zeros([ROWS, BLOCK_RANK], tl.float32)

    for start in range(begin, end, KEYS):
        number = start + tl.arange(0, KEYS)
        is_key = number < end
        page = tl.load(
            pages + sequence.to(tl.int64) * pages_stride + number // PAGE, mask=is_key, other=0
        ).to(tl.int64)
        slot = number % PAGE
        if HAS_HOLES:
            key_position = tl.load(own_positions + number, mask=is_key, other=0)
        else:
            key_position = number

        k = tl.load(
            keys
            + page[None, :] * key_page_stride
            + slot[None, :] * key_slot_stride
            + kv_head * key_head_stride
            + dim[:, None],
            mask=is_key[None, :] & (dim[:, None] < SIZE),
            other=0.0,
        )
        nothing = tl.zeros([ROWS, KEYS], tl.float32)
        scores = _dot(q, k, nothing, UPCAST) * (scale * 1.4426950408889634)  # log2(e)
        visible = is_key[None, :] & (key_position[None, :] <= position[:, None])
        scores = tl.where(visible, scores, float("-inf"))

        # Rows that have seen nothing yet keep -inf, from which nothing may be subtracted.
        now_largest = tl.maximum(largest, tl.max(scores, 1))
        shift = tl.where(now_largest == float("-inf"), 0.0, now_largest)
        weights = tl.exp2(scores - shift[:, None])
        decay = tl.exp2(largest - shift)
        total = total * decay + tl.sum(weights, 1)
        largest = now_largest

        v = tl.load(
            values
            + page[:, None] * value_page_stride
            + slot[:, None] * value_slot_stride
            + kv_head * value_head_stride
            + value_dim[None, :],
            mask=is_key[:, None] & (value_dim[None, :] < VALUE_SIZE),
            other=0.0,
        )
        weights = weights.to(v.dtype)
        found = _dot(weights, v, found * decay[:, None], UPCAST)
        if HAS_LOW_RANK:
            counts = is_key
            if HAS_PRODUCERS:
                producer = tl.load(
                    producers + page * producers_stride + slot, mask=is_key, other=-1
                )
                counts = is_key & (producer == adapter)
            low = tl.load(
                low_rank
                + page[:, None] * low_rank_page_stride
                + slot[:, None] * low_rank_slot_stride
                + rank_dim[None, :],
                mask=counts[:, None] & (rank_dim[None, :] < rank),
                other=0.0,
            )
            found_low = _dot(weights, low, found_low * decay[:, None], UPCAST)

    if HAS_LOW_RANK:
        if adapter >= 0:
            b = tl.load(
                up
                + adapter * up_adapter_stride
                + kv_head * up_head_stride
                + rank_dim[:, None] * up_rank_stride
                + value_dim[None, :],
                mask=(rank_dim[:, None] < rank) & (value_dim[None, :] < VALUE_SIZE),
                other=0.0,
            )
            found = _dot(found_low, b.to(tl.float32), found, UPCAST)

    result = found / tl.where(total == 0.0, 1.0, total)[:, None]
    written = is_row[:, None] & (value_dim[None, :] < VALUE_SIZE)
    if PARTS == 1:
        tl.store(
            output
            + at.to(tl.int64)[:, None] * output_token_stride
            + head[:, None] * output_head_stride
            + value_dim[None, :],
            result.to(output.dtype.element_ty),
            mask=written,
        )
    else:
        heads = tl.num_programs(1) * GROUP
        place = (part.to(tl.int64) * queries + at) * heads + head
        tl.store(parts + place[:, None] * VALUE_SIZE + value_dim[None, :], result, mask=written)
        logsumexp = largest + tl.log2(tl.where(total == 0.0, 1.0, total))
        tl.store(part_logsumexp + place, logsumexp, mask=is_row)


@triton.jit
def join(
    parts,
    part_logsumexp,
    output,
    queries,
    output_token_stride,
    output_head_stride,
    PARTS: tl.constexpr,
    VALUE_SIZE: tl.constexpr,
    BLOCK_PARTS: tl.constexpr,
    BLOCK_VALUE: tl.constexpr,
):
    """One query and head: the parts of its keys, weighted by what each has seen."""
    at = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    part = tl.arange(0, BLOCK_PARTS)
    value_dim = tl.arange(0, BLOCK_VALUE)
    place = (part.to(tl.int64) * queries + at) * tl.num_programs(1) + head
    logsumexp = tl.load(part_logsumexp + place, mask=part < PARTS, other=float("-inf"))
    largest = tl.max(logsumexp, 0)
    weights = tl.exp2(logsumexp - tl.where(largest == float("-inf"), 0.0, largest))
    total = tl.sum(weights, 0)
    seen = tl.load(
        parts + place[:, None] * VALUE_SIZE + value_dim[None, :],
        mask=(part[:, None] < PARTS) & (value_dim[None, :] < VALUE_SIZE),
        other=0.0,
    )
    result = tl.sum(seen * weights[:, None], 0) / tl.where(total == 0.0, 1.0, total)
    tl.store(
        output + at * output_token_stride + head * output_head_stride + value_dim,
        result.to(output.dtype.element_ty),
        mask=value_dim < VALUE_SIZE,
    )


def segment_attention_triton(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    segments: Segments,
    scale: float,
    output: Tensor,
    low_rank: LowRank | None = None,
    parts: int | None = None,
) -> None:
    """See `segment_attention`.

    Args:
        parts: into how many the keys of a sequence are split; None chooses.
    """
    total, heads, size = query.shape
    kv_heads, value_size = values.shape[2:]
    group = heads // kv_heads
    rank = 0 if low_rank is None else low_rank.pool.shape[-1]
    rows = min(_MOST_ROWS, max(_LEAST_ROWS, triton.next_power_of_2(segments.most_queries * group)))
    rows = max(rows, triton.next_power_of_2(group))
    tiles = triton.cdiv(segments.most_queries, rows // group)
    if parts is None:
        parts = _parts(tiles * kv_heads * segments.sequences, segments.most_keys)
    found = logsumexp = output
    if parts > 1:
        found = query.new_empty(parts, total, heads, value_size, dtype=torch.float32)
        logsumexp = query.new_empty(parts, total, heads, dtype=torch.float32)
    holes, low, nothing = segments.key_positions, low_rank, segments.lengths
    attend[(tiles, kv_heads, segments.sequences * parts)](
        query,
        keys,
        values,
        output,
        found,
        logsumexp,
        segments.query_start,
        segments.query_positions,
        segments.pages,
        segments.lengths,
        nothing if holes is None else holes,
        nothing if low is None else low.pool,
        nothing if low is None else low.up,
        nothing if low is None else low.ranks,
        nothing if low is None else low.adapters,
        nothing if low is None or low.producers is None else low.producers,
        scale,
        total,
        *query.stride()[:2],
        *keys.stride()[:3],
        *values.stride()[:3],
        *output.stride()[:2],
        segments.pages.stride(0),
        0 if holes is None else holes.stride(0),
        *((0, 0) if low is None else low.pool.stride()[:2]),
        *((0, 0, 0) if low is None else low.up.stride()[:3]),
        0 if low is None or low.producers is None else low.producers.stride(0),
        GROUP=group,
        SIZE=size,
        VALUE_SIZE=value_size,
        PAGE=segments.page_size,
        PARTS=parts,
        ROWS=rows,
        KEYS=_KEYS,
        BLOCK_SIZE=max(16, triton.next_power_of_2(size)),
        BLOCK_VALUE=max(16, triton.next_power_of_2(value_size)),
        BLOCK_RANK=max(16, triton.next_power_of_2(rank)),
        HAS_HOLES=holes is not None,
        HAS_LOW_RANK=low is not None,
        HAS_PRODUCERS=low is not None and low.producers is not None,
        UPCAST=triton.knobs.runtime.interpret,
        **launch(rows),
    )
    if parts > 1:
        join[(total, heads)](
            found,
            logsumexp,
            output,
            total,
            *output.stride()[:2],
            PARTS=parts,
            VALUE_SIZE=value_size,
            BLOCK_PARTS=triton.next_power_of_2(parts),
            BLOCK_VALUE=triton.next_power_of_2(value_size),
        )


def launch(rows: int) -> dict[str, int]:
    """Warps and stages for tiles of so many rows: those with which nothing spills on Hopper."""
    if rows <= _LEAST_ROWS:
        return {"num_warps": 4, "num_stages": 2}
    return {"num_warps": 8, "num_stages": 3}


def _parts(blocks: int, most_keys: int) -> int:
    """Enough to fill a GPU, none so small that joining them costs more."""
    wanted = _ENOUGH_BLOCKS // max(1, blocks)
    return max(1, min(wanted, most_keys // _KEYS_OF_A_PART, _MOST_PARTS))
