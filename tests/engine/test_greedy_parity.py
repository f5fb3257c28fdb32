"""The engine's greedy output is transformers' own: cold, from a cached prefix, in a batch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2
import pytest

from agentrt_engine.sglang.options import DType, engine_options
from agentrt_engine.sglang.server import EngineProcess, free_port, start_engine
from tests.support import transformers_reference

NEW_TOKENS = 32
NEAR_TIE = 0.1

PROMPTS = (
    "The history of computing began",
    "def fibonacci(n):\n    ",
    "Three reasons why caches matter for servers:\n1.",
    "In the year 1969, the first people walked on",
    "Once upon a time in a small village there lived",
    "SELECT name, count(*) FROM",
)
PREFIX = (
    "A radix tree keeps the prompts that an engine has seen. Two prompts that begin alike share "
    "the nodes of their common beginning, so its keys and values are computed once. "
) * 4
SUFFIXES = ("When memory is short,", "For example, two agents that")


@dataclass(frozen=True)
class Continuation:
    """What the engine made of a prompt of token ids."""

    tokens: list[int]
    cached: int


#: Cases by name: prompt ids and the engine's continuation.
Cases = dict[str, tuple[list[int], Continuation]]


def continue_greedily(engine: EngineProcess, ids: list[int]) -> Continuation:
    sampling = {
        "temperature": 0,
        "max_new_tokens": NEW_TOKENS,
        "min_new_tokens": NEW_TOKENS,
    }
    answer = httpx2.post(
        f"{engine.url}/generate", json={"input_ids": ids, "sampling_params": sampling}, timeout=300
    )
    answer.raise_for_status()
    body = answer.json()
    return Continuation(body["output_ids"], body["meta_info"]["cached_tokens"])


def tokenize(engine: EngineProcess, text: str) -> list[int]:
    answer = httpx2.post(f"{engine.url}/tokenize", json={"prompt": text}, timeout=60)
    answer.raise_for_status()
    ids: list[int] = answer.json()["tokens"]
    return ids


def run_cases(engine: EngineProcess) -> Cases:
    """All cases on one engine, from an empty cache."""
    httpx2.post(f"{engine.url}/flush_cache", timeout=60).raise_for_status()
    cases = {}

    cold = tokenize(engine, PROMPTS[0])
    cases["cold"] = (cold, continue_greedily(engine, cold))
    assert cases["cold"][1].cached == 0

    first, second = (tokenize(engine, PREFIX + suffix) for suffix in SUFFIXES)
    cases["before the prefix is cached"] = (first, continue_greedily(engine, first))
    cases["cached prefix"] = (second, continue_greedily(engine, second))
    cases["cached but for the last token"] = (second, continue_greedily(engine, second))
    shared = len(tokenize(engine, PREFIX)) - 1
    assert cases["cached prefix"][1].cached >= shared
    assert cases["cached but for the last token"][1].cached == len(second) - 1

    batch = [tokenize(engine, prompt) for prompt in PROMPTS]
    with ThreadPoolExecutor(len(batch)) as pool:
        continuations = list(pool.map(lambda ids: continue_greedily(engine, ids), batch))
    for index, (ids, continuation) in enumerate(zip(batch, continuations, strict=True)):
        cases[f"batch[{index}]"] = (ids, continuation)
    return cases


def by_transformers(model: Path, cases: Cases) -> list[list[int]]:
    """The continuations of all cases, in order."""
    prompts = [ids for ids, _ in cases.values()]
    return transformers_reference.ask(model, generate=prompts, tokens=NEW_TOKENS)["generate"]


def test_float32_equals_transformers_token_for_token(
    engine: EngineProcess, model_folder: Path
) -> None:
    cases = run_cases(engine)
    expected = by_transformers(model_folder, cases)
    assert {name: continuation.tokens for name, (_, continuation) in cases.items()} == dict(
        zip(cases, expected, strict=True)
    )


@pytest.fixture(scope="module")
def bfloat16_engine() -> Iterator[EngineProcess]:
    options = engine_options(port=free_port(), kv_tokens=4_096, dtype=DType.BFLOAT16)
    process = anyio.run(start_engine, options)
    yield process
    process.stop(grace_s=0.0)


def test_bfloat16_differs_from_transformers_only_at_near_ties(
    bfloat16_engine: EngineProcess, model_folder: Path
) -> None:
    cases = run_cases(bfloat16_engine)
    expected = by_transformers(model_folder, cases)
    diverged = {}
    for (name, (ids, continuation)), tokens in zip(cases.items(), expected, strict=True):
        same = next(
            (
                i
                for i, (ours, theirs) in enumerate(zip(continuation.tokens, tokens, strict=True))
                if ours != theirs
            ),
            None,
        )
        if same is not None:
            diverged[name] = ids + tokens[:same]
    gaps = transformers_reference.ask(model_folder, gaps=list(diverged.values()))["gaps"]
    assert all(gap < NEAR_TIE for gap in gaps), dict(zip(diverged, gaps, strict=True))
