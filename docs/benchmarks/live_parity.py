"""Is the text the same under every policy? Greedy decoding of the live workload, engine by engine.

    .venv/bin/python docs/benchmarks/live_parity.py --json live_parity.json

In float32 stock SGLang, `lru` and `guard` must generate the same tokens. In bf16 another batch
shape may round differently: the share of equal programs is reported, and at every first difference
a float32 engine says how far apart the two best tokens were. The control is a second stock engine
that has KV for everything, so that it caches and batches otherwise; how exact bf16 is at all is
measured on stock alone, text for text against float32.
"""

from __future__ import annotations

import math
import random
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
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

PLENTY = 32_768

#: Name, policy (None is stock SGLang) and KV memory, tokens.
COLUMNS: dict[str, tuple[str | None, int]] = {
    "stock": (None, KV_TOKENS),
    "control": (None, PLENTY),
    "lru": ("lru", KV_TOKENS),
    "guard": ("guard", KV_TOKENS),
}
COMPARED = ("control", "lru", "guard")

#: Logits closer than this in float32 are called a near-tie.
NEAR_TIE = 0.1

#: Turns whose text both precisions read to find how exact bf16 is; best tokens asked for.
SAMPLE = 70
BEST = 20

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
            for name, (policy, kv_tokens) in COLUMNS.items():
                console.print(f"starting {name} in {dtype}", style="dim")
                started = processes.enter_context(
                    engine(policy, kv_tokens=kv_tokens, max_running=MAX_RUNNING, dtype=dtype)
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


def prompt_of(output: TurnOutput, outputs: list[TurnOutput], prompts: list[list[int]]) -> list[int]:
    """What the engine was sent for this turn."""
    history = [
        each
        for each in outputs
        if each.place[:3] == output.place[:3] and each.turn == output.turn - 1
    ]
    for prompt in prompts:
        if len(prompt) == output.prompt_tokens and _goes_on(prompt, history):
            return prompt
    raise AssertionError("the prompt of a turn was not kept")


def text_before(
    difference: Difference, outputs: list[TurnOutput], prompts: list[list[int]]
) -> list[int]:
    """The tokens before the first one that differs."""
    output = next(each for each in outputs if each.place == _place(difference))
    assert output.output_ids is not None
    return prompt_of(output, outputs, prompts) + output.output_ids[: difference.position]


def _goes_on(prompt: list[int], history: list[TurnOutput]) -> bool:
    """Whether the prompt holds what the turn before generated, where it must."""
    for before in history:
        assert before.output_ids is not None
        start = before.prompt_tokens
        return prompt[start : start + len(before.output_ids)] == before.output_ids
    return True


def _place(difference: Difference) -> tuple[int, int, str, int]:
    return difference.seed, difference.repeat, difference.program, difference.turn


def ask(url: str, text: list[int], **wanted: int) -> dict[str, Any]:
    """What the engine says of the likeliest tokens of a text."""
    answer = httpx2.post(
        f"{url}/generate",
        json={
            "input_ids": text,
            "sampling_params": {"temperature": 0, "max_new_tokens": 1},
            "return_logprob": True,
            "top_logprobs_num": BEST,
            **wanted,
        },
        timeout=120,
    )
    answer.raise_for_status()
    said: dict[str, Any] = answer.json()["meta_info"]
    return said


def gap(url: str, text: list[int]) -> float:
    """How far apart the two best next tokens are, in logits."""
    best, second = ask(url, text)["output_top_logprobs"][0][:2]
    return float(best[0] - second[0])


def margin_errors(exact: str, rounded: str, text: list[int], start: int) -> list[float]:
    """How far the lead of the best token over the second is off in bf16, in logits.

    Both tokens are those of float32; one value for each token of the text from `start` on.
    """
    wide, narrow = (
        ask(url, text, logprob_start_len=start - 1)["input_top_logprobs"][1:]
        for url in (exact, rounded)
    )
    errors = []
    for best, other in zip(wide, narrow, strict=True):
        found = {token: logprob for logprob, token, _ in other}
        (first, a, _), (second, b, _) = best[:2]
        errors.append((found[a] - found[b]) - (first - second))
    return errors


@dataclass(frozen=True, slots=True)
class Rounding:
    """What bf16 did to the texts.

    Attributes:
        gaps: by engine, the float32 gap wherever it leaves the text of stock.
        errors: of single margins on stock, in logits.
    """

    gaps: dict[str, list[float]]
    errors: list[float]

    @property
    def rms(self) -> float:
        """Root of the mean square error of a margin, in logits."""
        return math.sqrt(fmean(error * error for error in self.errors))

    def figures(self) -> dict[str, float]:
        """For the file."""
        sizes = sorted(map(abs, self.errors))
        return {
            "margins": len(sizes),
            "rms": self.rms,
            "p99": sizes[int(0.99 * len(sizes))],
            "largest": sizes[-1],
        }


def judge_rounding(
    outputs: dict[str, list[TurnOutput]],
    prompts: list[list[int]],
    differences: dict[str, list[Difference]],
) -> Rounding:
    """Ask engines of both precisions about the texts of stock."""
    stock = outputs["stock"]
    with ExitStack() as processes:
        exact, rounded = (
            processes.enter_context(engine(None, kv_tokens=KV_TOKENS, dtype=dtype)).url
            for dtype in (DType.FLOAT32, DType.BFLOAT16)
        )
        gaps = {
            name: [gap(exact, text_before(each, stock, prompts)) for each in found]
            for name, found in differences.items()
        }
        errors = []
        for output in random.Random(0).sample(stock, min(SAMPLE, len(stock))):
            assert output.output_ids is not None
            prompt = prompt_of(output, stock, prompts)
            errors += margin_errors(exact, rounded, prompt + output.output_ids, len(prompt))
    return Rounding(gaps, errors)


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
    total = PROGRAMS * len(seeds)
    table = Table("precision", "engines", title=f"{total} programs of 7 turns each")
    for heading in ("equal programs", "first differences", "largest gap there"):
        table.add_column(heading, justify="right")
    rows: list[dict[str, Any]] = []
    rounding = None
    for dtype in (DType.FLOAT32, DType.BFLOAT16):
        outputs, prompts = anyio.run(generate, dtype, seeds)
        differences = {
            name: first_differences(outputs["stock"], outputs[name]) for name in COMPARED
        }
        if dtype is DType.BFLOAT16:
            rounding = judge_rounding(outputs, prompts["stock"], differences)
        for name, found in differences.items():
            equal = total - len(found)
            gaps = rounding.gaps[name] if rounding else []
            rows.append(
                {"dtype": dtype, "engine": name, "programs": total, "equal": equal, "gaps": gaps}
            )
            largest = f"{max(gaps):.3f}" if gaps else ""
            table.add_row(
                dtype, f"stock and {name}", f"{equal} of {total}", str(len(found)), largest
            )
    assert rounding is not None
    figures = rounding.figures()
    console.print(table)
    console.print(
        "The lead of the best token in bf16 is off by "
        + ", ".join(f"{name} {value:.3f}" for name, value in figures.items() if name != "margins")
        + f" ({figures['margins']} positions)."
    )
    if json is not None:
        document = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine() | {"sglang": version("sglang"), "torch": version("torch")},
            "seeds": seeds,
            "near_tie": NEAR_TIE,
            "rows": rows,
            "bf16_margin_errors": figures,
        }
        json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    exact_rows = [row for row in rows if row["dtype"] == DType.FLOAT32]
    assert all(row["equal"] == row["programs"] for row in exact_rows), "float32 texts differ"
    explained = max(NEAR_TIE, 4 * rounding.rms)
    assert all(each < explained for row in rows for each in row["gaps"]), "more than rounding"


if __name__ == "__main__":
    run(main)
