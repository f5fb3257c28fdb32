"""LoRA adapters in a real engine: each is itself, whoever else is in the batch and the cache.

Every log-probability is held against a model that shares nothing, in float64.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import anyio
import httpx2
import pytest
import torch
from torch import Tensor

from agentrt import Context, agent, connect
from agentrt.cli import lora_adapters
from agentrt.errors import ModelRequestFailed, SettingError
from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.sglang.options import DType, engine_options
from agentrt_engine.sglang.ports import free_port
from agentrt_engine.sglang.server import EngineProcess, start_engine
from tests.support.lora_reference import LoraReference
from tests.support.random_adapters import random_adapter

#: Tokens whose last occurrence invokes the activated adapters.
INVOCATION = (1, 520, 9531)

#: What float32 may differ by. Without any adapter it is a third of it, but on a few prompts, where
#: roundings grow, ten times as much; there as many times what torch is off in float32 may be.
EXACT = 1e-5
TIMES = 5
NEW_TOKENS = 3
TOP = 20

Ids = list[int]


@dataclass(frozen=True)
class Fleet:
    """An engine that shares bases, and its adapters."""

    engine: EngineProcess
    folders: dict[str, Path]
    reference: LoraReference
    float32: LoraReference

    def ask(self, ids: Ids, adapter: str | None, *, share: bool | None = True) -> dict[str, Any]:
        """An answer of a few tokens, with log-probabilities; `share` None: nothing is said."""
        tag = {} if share is None else {"agentrt": {"lora_sharing": share}}
        sampling = {"max_new_tokens": NEW_TOKENS, "temperature": 0, "ignore_eos": True}
        body = {
            "input_ids": ids,
            "lora_path": adapter,
            "sampling_params": sampling | {"custom_params": tag},
            "return_logprob": True,
            "top_logprobs_num": TOP,
        }
        answer = httpx2.post(f"{self.engine.url}/generate", json=body, timeout=120)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def error(self, ids: Ids, adapter: str | None, answer: dict[str, Any], start: int = 0) -> float:
        """How far the log-probabilities of an answer are from the reference's, on average."""
        wanted = self._wanted(self.reference, ids, adapter, answer, start)
        return fmean(abs(value - float(wanted[at, token])) for at, token, value in _top(answer))

    def is_exact(
        self, ids: Ids, adapter: str | None, answer: dict[str, Any], start: int = 0
    ) -> bool:
        """Whether an answer is what the adapter says, as far as float32 goes."""
        error = self.error(ids, adapter, answer, start)
        if error < EXACT:
            return True
        wanted, single = (
            self._wanted(each, ids, adapter, answer, start)
            for each in (self.reference, self.float32)
        )
        off = fmean(abs(float(wanted[at, t] - single[at, t])) for at, t, _ in _top(answer))
        return error < TIMES * off

    def _wanted(
        self,
        reference: LoraReference,
        ids: Ids,
        adapter: str | None,
        answer: dict[str, Any],
        start: int,
    ) -> Tensor:
        new: Ids = answer["output_ids"]
        folder = None if adapter is None else self.folders[adapter]
        return reference.log_probabilities([*ids, *new[:-1]], len(new), folder, start)


def _top(answer: dict[str, Any]) -> Iterator[tuple[int, int, float]]:
    """Position, token and log-probability of what is likeliest."""
    for at, top in enumerate(answer["meta_info"]["output_top_logprobs"]):
        for value, token, _ in top:
            yield at, token, value


def cached(answer: dict[str, Any]) -> int:
    tokens: int = answer["meta_info"]["cached_tokens"]
    return tokens


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Iterator[Fleet]:
    root = tmp_path_factory.mktemp("adapters")
    everywhere = ("q_proj", "k_proj", "v_proj", "o_proj")
    folders = {
        "planner": random_adapter(root / "planner", model_folder, 1),
        "coder": random_adapter(root / "coder", model_folder, 2, modules=("q_proj", "v_proj")),
        "small": random_adapter(root / "small", model_folder, 3, rank=4),
        "checker": random_adapter(
            root / "checker", model_folder, 4, modules=everywhere, invocation=INVOCATION
        ),
        "judge": random_adapter(
            root / "judge", model_folder, 5, modules=everywhere, invocation=INVOCATION
        ),
    }
    options = engine_options(
        port=free_port(),
        kv_tokens=8192,
        dtype=DType.FLOAT32,
        lora=[f"{name}={path}" for name, path in folders.items() if name != "small"],
        lora_sharing=LoraSharing.BASE,
    )
    references = LoraReference(model_folder), LoraReference(model_folder, torch.float32)
    process = anyio.run(start_engine, options)
    yield Fleet(process, folders, *references)
    process.stop(grace_s=0.0)


@pytest.fixture
def ids() -> Ids:
    """A prompt nobody has had before."""
    rng = random.Random(time.time_ns())
    return [rng.randrange(1000, 30_000) for _ in range(rng.randrange(80, 160))]


def test_an_adapter_that_shares_is_exact_on_what_it_wrote_itself(fleet: Fleet, ids: Ids) -> None:
    cold = fleet.ask(ids, "planner")
    warm = fleet.ask(ids, "planner")
    longer = [*ids, *cold["output_ids"], *ids[:20]]
    turn = fleet.ask(longer, "planner")
    assert [cached(each) for each in (cold, warm)] == [0, len(ids) - 1]
    assert cached(turn) >= len(ids) + NEW_TOKENS - 1
    assert fleet.is_exact(ids, "planner", cold)
    assert fleet.is_exact(ids, "planner", warm)
    assert fleet.is_exact(longer, "planner", turn)


def test_what_another_adapter_wrote_is_used_and_is_approximate(fleet: Fleet, ids: Ids) -> None:
    fleet.ask(ids, "planner")
    longer = [*ids, *ids[:10]]
    answer = fleet.ask(longer, "coder")
    assert cached(answer) == len(ids)
    assert fleet.error(longer, "coder", answer) > 100 * EXACT
    # The planner's rows are its own still, and the coder's are not among them.
    again = fleet.ask(longer[:-1], "planner")
    assert cached(again) > 0
    alone = fleet.ask(ids, "planner")
    assert fleet.is_exact(ids, "planner", alone)


@pytest.mark.parametrize("share", [False, None])
def test_who_does_not_ask_does_not_share(fleet: Fleet, ids: Ids, share: bool | None) -> None:
    fleet.ask(ids, "planner")
    for adapter in ("coder", "planner"):
        answer = fleet.ask(ids, adapter, share=share)
        assert cached(answer) == 0
        assert fleet.is_exact(ids, adapter, answer)
    assert cached(fleet.ask(ids, "coder", share=share)) == len(ids) - 1


def test_base_requests_never_see_an_adapters_slots(fleet: Fleet, ids: Ids) -> None:
    for adapter in ("planner", "coder"):
        fleet.ask(ids, adapter)
    activated = [*ids[:50], *INVOCATION, *ids[50:]]
    fleet.ask(activated, "checker")
    answer = fleet.ask(ids, None)
    # Before its invocation an activated adapter's KV is the base model's.
    assert cached(answer) == 50
    assert fleet.is_exact(ids, None, answer)
    after = fleet.ask(activated, None)
    assert cached(after) == 50
    assert fleet.is_exact(activated, None, after)


def test_activated_adapters_share_exactly(fleet: Fleet, ids: Ids) -> None:
    fleet.ask(ids, None)
    invoked = [*ids, *INVOCATION, *ids[:9]]
    for adapter in ("checker", "judge"):
        answer = fleet.ask(invoked, adapter)
        assert cached(answer) == len(ids)
        assert fleet.is_exact(invoked, adapter, answer, start=len(ids))
    # Its own part it finds again, and after another invocation all of it is the base model's.
    more = [*invoked, *ids[:5]]
    again = fleet.ask(more, "judge")
    assert cached(again) == len(invoked)
    assert fleet.is_exact(more, "judge", again, start=len(ids))
    twice = [*more, *INVOCATION]
    last = fleet.ask(twice, "judge")
    assert cached(last) == len(ids)
    assert fleet.is_exact(twice, "judge", last, start=len(more))


def test_without_sharing_an_activated_adapter_acts_from_its_invocation_on_as_well(
    fleet: Fleet, ids: Ids
) -> None:
    fleet.ask(ids, None)
    invoked = [*ids, *INVOCATION, *ids[:9]]
    answer = fleet.ask(invoked, "checker", share=False)
    assert cached(answer) == 0
    assert fleet.is_exact(invoked, "checker", answer, start=len(ids))


def test_an_adapter_that_is_not_invoked_is_the_base_model(fleet: Fleet, ids: Ids) -> None:
    answer = fleet.ask(ids, "checker")
    assert fleet.is_exact(ids, None, answer)
    assert cached(fleet.ask(ids, None)) == len(ids) - 1


def test_in_one_batch_each_is_what_it_is_alone(fleet: Fleet) -> None:
    rng = random.Random(time.time_ns())
    cases: list[tuple[Ids, str | None, bool, int]] = []
    for adapter, share in [
        ("planner", True), ("checker", True), (None, True), ("coder", False),
        ("coder", True), ("judge", False), ("planner", False), ("judge", True),
    ]:  # fmt: skip
        ids = [rng.randrange(1000, 30_000) for _ in range(rng.randrange(30, 90))]
        start = rng.randrange(10, 30) if adapter in ("checker", "judge") else 0
        if start:
            ids[start : start + len(INVOCATION)] = INVOCATION
        cases.append((ids, adapter, share, start))
    with ThreadPoolExecutor(len(cases)) as pool:
        answers = pool.map(lambda case: fleet.ask(case[0], case[1], share=case[2]), cases)
        for (ids, adapter, _, start), answer in zip(cases, answers, strict=True):
            assert fleet.is_exact(ids, adapter, answer, start)


def test_adapters_come_and_go_while_the_engine_runs(
    fleet: Fleet, ids: Ids, capsys: pytest.CaptureFixture[str], model_folder: Path
) -> None:
    path, url = fleet.folders["small"], fleet.engine.url
    assert "never been loaded: small" in refusal(fleet, ids)
    fleet.ask(ids, "coder")
    lora_adapters.load(url, f"small={path}")
    assert fleet.is_exact(ids, "small", fleet.ask(ids, "small", share=False))
    fleet.ask([*ids, 5], "small")
    lora_adapters.list_adapters(url)
    assert "SmolLM2-135M-Instruct:small" in capsys.readouterr().out
    lora_adapters.drop(url, "small")
    assert "never been loaded: small" in refusal(fleet, ids)
    lora_adapters.list_adapters(url)
    assert "SmolLM2-135M-Instruct:small" not in capsys.readouterr().out
    lora_adapters.load(url, f"small={path}")
    fresh = ids[::-1]
    assert fleet.is_exact(fresh, "small", fleet.ask(fresh, "small"))
    unsuited = random_adapter(
        fleet.folders["small"].with_name("keys"),
        model_folder,
        9,
        modules=("k_proj", "v_proj"),
    )
    with pytest.raises(ModelRequestFailed, match=r"HTTP 400.*target_modules has k_proj"):
        lora_adapters.load(url, f"keys={unsuited}")
    with pytest.raises(ModelRequestFailed, match=r"HTTP 400.*nobody"):
        lora_adapters.drop(url, "nobody")
    with pytest.raises(SettingError, match="'keys': expected NAME=PATH"):
        lora_adapters.load(url, "keys")


def refusal(fleet: Fleet, ids: Ids) -> str:
    """What the engine says to a request for an adapter that it has not."""
    body = {"input_ids": ids, "lora_path": "small", "sampling_params": {"max_new_tokens": 1}}
    answer = httpx2.post(f"{fleet.engine.url}/generate", json=body, timeout=60)
    assert answer.status_code == httpx2.codes.BAD_REQUEST
    return answer.text


@agent(adapter="planner", lora_sharing=True, max_tokens=4)
async def plan(ctx: Context, text: str) -> str:
    """You plan."""
    return await ctx.say(text)


@agent(adapter="coder", lora_sharing=True, max_tokens=4)
async def code(ctx: Context, text: str) -> str:
    """You plan."""
    return await ctx.say(text)


@agent(adapter="coder", max_tokens=4)
async def code_alone(ctx: Context, text: str) -> str:
    """You plan."""
    return await ctx.say(text)


def test_agents_share_if_they_are_declared_so(fleet: Fleet) -> None:
    text = f"{time.time_ns()} " * 10

    async def main() -> Sequence[int | None]:
        async with connect(fleet.engine.url) as runtime:
            for each in (plan, code, code_alone):
                await runtime.run(each, text)
            return [program.turns[0].cached_tokens for program in runtime.programs]

    first, second, third = anyio.run(main)
    assert second is not None
    assert second > 50
    assert (first or 0) < 50
    assert (third or 0) < 50


def test_the_engine_says_what_its_adapters_share(fleet: Fleet) -> None:
    assert fleet.engine.info.lora_sharing is LoraSharing.BASE
    models = httpx2.get(f"{fleet.engine.url}/v1/models").json()["data"]
    assert {"planner", "coder", "checker", "judge"} <= {model["id"] for model in models}
