"""The engine's greedy output is transformers' own: cold, from a cached prefix, in a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import anyio
import httpx2
import pytest

from agentrt_engine.sglang.options import DType, engine_options
from agentrt_engine.sglang.ports import free_port
from agentrt_engine.sglang.server import EngineProcess, start_engine
from tests.support import transformers_reference
from tests.support.transformers_reference import Margin

NEW_TOKENS = 32

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


@dataclass(frozen=True)
class Rounded:
    """What bf16 made of the cases, and how exact it is.

    A margin is the lead of the best next token over the second (in float32), in logits.

    Attributes:
        gaps: of each case that leaves the float32 text, the margin in float32 where it does.
        engine_errors: of every position of every case, how far the engine's margin is off.
        transformers_errors: the same of transformers in bf16.
    """

    gaps: dict[str, float]
    engine_errors: list[float]
    transformers_errors: list[float]


@pytest.fixture(scope="module")
def rounded(model_folder: Path) -> Iterator[Rounded]:
    options = engine_options(port=free_port(), kv_tokens=4_096, dtype=DType.BFLOAT16)
    process = anyio.run(start_engine, options)
    try:
        cases = run_cases(process)
        texts = [ids + continuation.tokens for ids, continuation in cases.values()]
        margins = transformers_reference.ask(model_folder, margins=texts)["margins"]
        gaps = {}
        for (name, (ids, continuation)), found in zip(cases.items(), margins, strict=True):
            ahead = found[len(ids) - 1 :]
            for margin, token in zip(ahead, continuation.tokens, strict=False):
                if margin["best"] != token:
                    gaps[name] = margin["float32"]
                    break
        yield Rounded(
            gaps,
            [
                error
                for text, found in zip(texts, margins, strict=True)
                for error in margin_errors(process, text, found)
            ],
            [margin["bfloat16"] - margin["float32"] for found in margins for margin in found],
        )
    finally:
        process.stop(grace_s=0.0)


def margin_errors(engine: EngineProcess, text: list[int], margins: list[Margin]) -> list[float]:
    """How far the engine's margins are from those in float32, position by position."""
    answer = httpx2.post(
        f"{engine.url}/generate",
        json={
            "input_ids": text,
            "sampling_params": {"temperature": 0, "max_new_tokens": 1},
            "return_logprob": True,
            "logprob_start_len": 0,
            "top_logprobs_num": 20,
        },
        timeout=300,
    )
    answer.raise_for_status()
    errors = []
    # The first token follows nothing, and what follows the last one is an output.
    tops = answer.json()["meta_info"]["input_top_logprobs"][1:]
    for top, margin in zip(tops, margins[:-1], strict=True):
        logprobs = {token: logprob for logprob, token, _ in top}
        lead = logprobs[margin["best"]] - logprobs[margin["second"]]
        errors.append(lead - margin["float32"])
    return errors


def root_mean_square(values: list[float]) -> float:
    return math.sqrt(fmean(value * value for value in values))


def test_bfloat16_is_as_exact_as_that_of_transformers(rounded: Rounded) -> None:
    ours, theirs = map(root_mean_square, (rounded.engine_errors, rounded.transformers_errors))
    assert ours < 1.25 * theirs, (ours, theirs)


def test_bfloat16_leaves_the_float32_text_only_where_rounding_explains_it(
    rounded: Rounded,
) -> None:
    # From 16 to 32, where the best logits lie, bf16 numbers are 0.125 apart.
    explained = 4 * root_mean_square(rounded.transformers_errors)
    assert explained < 0.5
    assert all(gap < explained for gap in rounded.gaps.values()), (explained, rounded.gaps)
