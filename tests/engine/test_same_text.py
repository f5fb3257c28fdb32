"""Stock SGLang, `lru` and `guard` generate the same text, however short memory is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2
import pytest

from agentrt.replay.live import (
    EngineAddress,
    LiveRun,
    RunSettings,
    TurnOutput,
    first_differences,
    open_engine,
    replay_live,
)
from agentrt.replay.program_list import ProgramList
from agentrt_engine.sglang.options import DType, EngineOptions, engine_options
from agentrt_engine.sglang.ports import free_port
from agentrt_engine.sglang.server import start_engine
from agentrt_engine.wire.identity import PROGRAM_ID
from agentrt_engine.wire.programs import PROGRAMS_PATH
from tests.engine.small_workload import KV_TOKENS, PROGRAMS, plans
from tests.support.processes import Command


@dataclass(frozen=True)
class Found:
    """What an engine did.

    Attributes:
        together: all programs at once.
        one_by_one: cached tokens of each turn, one program after the other.
        lost_tokens: that its policy took from idle programs; 0 for stock.
    """

    together: LiveRun
    one_by_one: list[int | None]
    lost_tokens: int


async def replayed(url: str, name: str) -> Found:
    programs = tuple(range(PROGRAMS))
    address = EngineAddress(url, name=name)
    async with open_engine(address) as engine, httpx2.AsyncClient(base_url=url) as client:
        await engine.flush()
        arrivals = ProgramList(1, programs, tuple(0.1 * n for n in programs))
        together = await replay_live(plans(), engine, arrivals)
        lost = 0
        if engine.facts.info is not None:
            snapshot = (await client.get("/agentrt/programs")).json()
            lost = snapshot["totals"]["account"]["lost_tokens"]
        await engine.flush()
        one_at_a_time = RunSettings(concurrency=1)
        alone = await replay_live(plans(), engine, ProgramList(2, programs), one_at_a_time)
    assert not together.failures and not alone.failures
    return Found(together, [output.cached_tokens for output in alone.outputs], lost)


def options(policy: str) -> EngineOptions:
    return engine_options(port=free_port(), policy=policy, kv_tokens=KV_TOKENS, dtype=DType.FLOAT32)


@contextmanager
def stock(folder: Path) -> Iterator[str]:
    """SGLang as it is, with the attention and the arguments of ours."""
    chosen = options("lru")
    arguments = chosen.sglang_arguments()
    at = arguments.index("--radix-cache-backend")
    del arguments[at : at + 2]
    command = [sys.executable, "-P", "-m", "agentrt_engine.sglang.launch", *arguments]
    with Command(*command, folder=folder, HF_HUB_OFFLINE="1") as engine:
        engine.until("The server is fired up and ready to roll!")
        yield chosen.url


@contextmanager
def ours(policy: str) -> Iterator[str]:
    process = anyio.run(start_engine, options(policy))
    try:
        yield process.url
    finally:
        process.stop(grace_s=0.0)


@pytest.fixture(scope="module")
def guard_url() -> Iterator[str]:
    with ours("guard") as url:
        yield url


@pytest.fixture(scope="module")
def found(guard_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    results = {"guard": anyio.run(replayed, guard_url, "guard")}
    with stock(tmp_path_factory.mktemp("stock")) as url:
        results["stock"] = anyio.run(replayed, url, "stock")
    with ours("lru") as url:
        results["lru"] = anyio.run(replayed, url, "lru")
    return results


@pytest.mark.parametrize("policy", ["lru", "guard"])
def test_every_token_is_that_of_stock_sglang(found: dict[str, Found], policy: str) -> None:
    assert first_differences(found["stock"].together.outputs, found[policy].together.outputs) == []


def test_there_was_pressure(found: dict[str, Found]) -> None:
    assert found["guard"].lost_tokens > 0
    hits = {name: prefilled(each.together.outputs) for name, each in found.items()}
    assert hits["guard"] < hits["stock"]


def test_one_after_the_other_lru_finds_as_much_as_stock_sglang(found: dict[str, Found]) -> None:
    assert found["lru"].one_by_one == found["stock"].one_by_one
    assert any(found["stock"].one_by_one)


def prefilled(outputs: list[TurnOutput]) -> int:
    return sum(output.prompt_tokens - (output.cached_tokens or 0) for output in outputs)


def test_samples_of_one_prompt_get_room_from_idle_programs(guard_url: str) -> None:
    """SGLang reads such a prompt once beforehand, in a request that belongs to no program."""
    share = KV_TOKENS // 4
    with httpx2.Client(base_url=guard_url, timeout=60) as client:

        def generate(program: int, **sampling: int) -> None:
            prompt = [1_000 * (program + 1) + token for token in range(share)]
            answer = client.post(
                "/generate",
                json={"input_ids": prompt, "sampling_params": {"max_new_tokens": 4, **sampling}},
                headers={PROGRAM_ID: f"samples-{program}"},
            )
            assert answer.status_code == 200, answer.text

        for program in range(4):
            generate(program)
        assert client.get(PROGRAMS_PATH).json()["free_tokens"] < share
        generate(4, n=2)
