"""Is the text the same under every policy? Greedy decoding of the live workload, engine by engine.

    .venv/bin/python docs/benchmarks/live_parity.py --json live_parity.json

In float32 stock SGLang, `lru` and `guard` must generate the same tokens. In bf16 another batch
shape may round differently: the share of equal programs is reported, and at every first difference
a float32 engine says how far apart the two best tokens were.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import httpx2
import msgspec
from agent_workload import KV_TOKENS, MAX_RUNNING, PROGRAMS, draw
from cyclopts import run
from engines import engine
from remaining_work import machine
from rich.console import Console
from rich.table import Table

from agentrt.replay.live import (
    EngineAddress,
    LiveEngine,
    RunSettings,
    TurnOutput,
    first_differences,
    open_engine,
    replay_live,
)
from agentrt.replay.live.engine import Timed
from agentrt.replay.live.outputs import Difference
from agentrt.replay.live.wire import TurnRequest
from agentrt_engine.sglang.options import DType

#: Name and policy; None is stock SGLang.
COLUMNS = {"stock": None, "lru": "lru", "guard": "guard"}

#: Logits closer than this in float32 are a tie that bf16 may break either way.
NEAR_TIE = 0.1

console = Console(width=100)


def remember_prompts(client: LiveEngine, prompts: list[list[int]]) -> None:
    """Keep every prompt that an engine is sent."""
    send = client.turn

    async def turn(request: TurnRequest, **options: Any) -> Timed:
        prompts.append(request.prompt)
        return await send(request, **options)

    setattr(client, "turn", turn)  # noqa: B010 - a method to mypy


async def generate(
    dtype: DType, seeds: list[int]
) -> tuple[dict[str, list[TurnOutput]], dict[str, list[list[int]]]]:
    """What each engine generated, and the prompts it was sent."""
    outputs: dict[str, list[TurnOutput]] = {name: [] for name in COLUMNS}
    prompts: dict[str, list[list[int]]] = {name: [] for name in COLUMNS}
    with ExitStack() as processes:
        async with AsyncExitStack() as clients:
            for name, policy in COLUMNS.items():
                console.print(f"starting {name} in {dtype}", style="dim")
                started = processes.enter_context(
                    engine(policy, kv_tokens=KV_TOKENS, max_running=MAX_RUNNING, dtype=dtype)
                )
                client = await clients.enter_async_context(
                    open_engine(EngineAddress(started.url, name=name))
                )
                remember_prompts(client, prompts[name])
                for seed in seeds:
                    plans, programs = draw(seed)
                    await client.flush()
                    found = await replay_live(plans, client, programs, RunSettings())
                    assert not found.failures, found.failures
                    outputs[name] += found.outputs
    return outputs, prompts


def prompt_of(
    difference: Difference, outputs: list[TurnOutput], prompts: list[list[int]]
) -> list[int]:
    """The tokens before the first one that differs."""
    output = next(each for each in outputs if each.place == _place(difference))
    assert output.output_ids is not None
    history = [
        each
        for each in outputs
        if each.place[:3] == output.place[:3] and each.turn == output.turn - 1
    ]
    for prompt in prompts:
        if len(prompt) == output.prompt_tokens and _goes_on(prompt, history):
            return prompt + output.output_ids[: difference.position]
    raise AssertionError("the prompt of a turn was not kept")


def _goes_on(prompt: list[int], history: list[TurnOutput]) -> bool:
    """Whether the prompt holds what the turn before generated, where it must."""
    for before in history:
        assert before.output_ids is not None
        start = before.prompt_tokens
        return prompt[start : start + len(before.output_ids)] == before.output_ids
    return True


def _place(difference: Difference) -> tuple[int, int, str, int]:
    return difference.seed, difference.repeat, difference.program, difference.turn


def gap(url: str, prompt: list[int]) -> float:
    """How far apart the two best next tokens are in float32, in logits."""
    answer = httpx2.post(
        f"{url}/generate",
        json={
            "input_ids": prompt,
            "sampling_params": {"temperature": 0, "max_new_tokens": 1},
            "return_logprob": True,
            "top_logprobs_num": 2,
        },
        timeout=120,
    ).json()
    best, second = answer["meta_info"]["output_top_logprobs"][0][:2]
    return float(best[0] - second[0])


def main(*, seed: list[int] | None = None, json: Path | None = None) -> None:
    """Generate, compare, print.

    Parameters
    ----------
    seed
        Seeds of the workload; 1 and 2 by default.
    json
        Where the figures go.
    """
    seeds = seed or [1, 2]
    table = Table("precision", "engines", title=f"{PROGRAMS * len(seeds)} programs of 7 turns each")
    for heading in ("equal programs", "first differences", "largest gap there"):
        table.add_column(heading, justify="right")
    rows: list[dict[str, Any]] = []
    for dtype in (DType.FLOAT32, DType.BFLOAT16):
        outputs, prompts = anyio.run(generate, dtype, seeds)
        for name in ("lru", "guard"):
            differences = first_differences(outputs["stock"], outputs[name])
            gaps = []
            if differences and dtype is DType.BFLOAT16:
                with engine(None, kv_tokens=KV_TOKENS, dtype=DType.FLOAT32) as exact:
                    gaps = [
                        gap(exact.url, prompt_of(each, outputs["stock"], prompts["stock"]))
                        for each in differences
                    ]
            total = PROGRAMS * len(seeds)
            rows.append(
                {
                    "dtype": dtype.value,
                    "engine": name,
                    "programs": total,
                    "equal": total - len(differences),
                    "gaps": gaps,
                }
            )
            table.add_row(
                dtype.value,
                f"stock and {name}",
                f"{total - len(differences)} of {total}",
                str(len(differences)),
                f"{max(gaps):.3f}" if gaps else "",
            )
    console.print(table)
    if json is not None:
        document = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine() | {"sglang": version("sglang"), "torch": version("torch")},
            "seeds": seeds,
            "near_tie": NEAR_TIE,
            "rows": rows,
        }
        json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    exact_rows = [row for row in rows if row["dtype"] == DType.FLOAT32]
    assert all(row["equal"] == row["programs"] for row in exact_rows), "float32 texts differ"
    assert all(each < NEAR_TIE for row in rows for each in row["gaps"]), "not a near-tie"


if __name__ == "__main__":
    run(main)
