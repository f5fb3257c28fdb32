"""The KV tokens of decoding batches are those of their requests."""

from __future__ import annotations

import random
from dataclasses import dataclass

from agentrt_engine.sglang.scheduler.batch_tokens import RECOUNT, BatchTokens


@dataclass(eq=False)
class Req:
    seqlen: int


def test_tokens_of_batches_that_change_now_and_then() -> None:
    draw, counted = random.Random(1), BatchTokens()
    batch = [Req(draw.randrange(1, 900)) for _ in range(5)]
    for _ in range(1_000):
        if draw.random() < 0.1:
            batch = batch[1:] if len(batch) > 1 else batch
        if draw.random() < 0.1:
            batch = [*batch, Req(draw.randrange(1, 900))]
        for req in batch:
            req.seqlen += 1
        assert counted.of(list(batch)) == sum(req.seqlen for req in batch)


def test_requests_that_grow_by_more_are_counted_again_in_time() -> None:
    counted, batch = BatchTokens(), [Req(10), Req(20)]
    found = []
    for _ in range(RECOUNT + 1):
        for req in batch:
            req.seqlen += 3
        found.append(counted.of(batch))
    assert found[-1] == sum(req.seqlen for req in batch)
