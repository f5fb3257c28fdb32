"""`agentrt lora`: adapters of an engine, some to try, and what sharing KV does to their replies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from agentrt.cli import console
from agentrt.cli.engine_api import EngineApi, EngineKey
from agentrt.cli.lora_adapters import drop, list_adapters, load
from agentrt.cli.lora_view import divergence_table, trained_table
from agentrt.cli.options import JsonTarget
from agentrt.cli.run_progress import RunProgress
from agentrt.cli.simulated_options import at_least_one
from agentrt.lora.measure import chosen_adapters, measure, require_sharing
from agentrt.lora.prompts import built_in_prompts, read_prompts
from agentrt.lora.scoring_engine import TOP, ScoringEngine
from agentrt_engine.adapters.make import make_adapters
from agentrt_engine.adapters.tasks import Task
from agentrt_engine.adapters.training import Training, Variant
from agentrt_engine.models.folder import resolve_model

app = App(
    name="lora",
    help="LoRA adapters: load and drop them, train small ones, measure what sharing their KV does.",
)
app.command(list_adapters, name="list")
app.command(load)
app.command(drop)

#: A long prompt on a slow machine takes less.
_ANSWER_TIMEOUT_S = 600.0


@app.command
def train(
    folder: Path,
    *,
    task: Annotated[tuple[Task, ...], Parameter(negative="")] = tuple(Task),
    variant: Variant = Variant.LORA,
    model: str | None = None,
    seed: int = 0,
    steps: Annotated[int, Parameter(validator=at_least_one)] = 30,
    batch: Annotated[int, Parameter(validator=at_least_one)] = 8,
    rank: Annotated[int, Parameter(validator=at_least_one)] = 8,
    json: JsonTarget = None,
) -> None:
    """Train small adapters to try LoRA with: each learns one task from sentences made up here.

    extract: the fields of an order, as JSON. command: an instruction, as a command with options.
    They adapt q_proj and v_proj, on the CPU in float32; the same arguments give the same files on
    the same machine. Takes about 90 s per adapter on one core, of SmolLM2-135M-Instruct.

    Examples:

        agentrt lora train adapters
        agentrt lora train adapters/shared-a --variant shared-a --seed 1
        agentrt serve --lora extract=adapters/extract --lora command=adapters/command

    Parameters
    ----------
    folder
        Where to write; each adapter is a folder in it in PEFT's format, named after its task.
    task
        What to teach; an adapter for each. By default both.
    variant
        lora: A and B are trained. shared-a: both tasks have the same A, only B is trained. alora:
        activated LoRA, which acts from the beginning of the reply on.
    model
        Name of a fetched model or folder in Hugging Face's format, built like Llama.
    seed
        Of the sentences and of A.
    steps
        Updates of the weights.
    batch
        Sentences per step.
    rank
        Of the matrices.
    """
    tasks = tuple(dict.fromkeys(task))
    trainings = [Training(each, variant, seed, steps, batch, rank) for each in tasks]
    with RunProgress("training", steps * len(trainings), "steps") as progress:
        made = make_adapters(resolve_model(model), folder, trainings, progress.show)
    console.write_json(json, made)
    to = console.results(json)
    to.print(trained_table(made))
    named = " ".join(f"--lora {name}={folder / name}" for name in made)
    to.print(f"\nagentrt serve {named}", markup=False, soft_wrap=True)


@app.command
def divergence(
    engine: str,
    *,
    adapter: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    prompts: Path | None = None,
    tokens: Annotated[int, Parameter(validator=at_least_one)] = 32,
    engine_key: EngineKey = None,
    json: JsonTarget = None,
) -> None:
    """Measure what sharing KV across adapters changes in replies.

    Each adapter replies to each prompt unshared. Then another one, the producer, computes the
    prompt, and the same reply is scored from its KV: how far apart what is expected at each token
    (KL divergence, nats) and whether greedy decoding still takes the same. Where an adapter follows
    itself the difference is what rounding does. Nothing else in the cache interferes, and other
    requests may run meanwhile.

    Examples:

        agentrt lora divergence http://127.0.0.1:30000
        agentrt lora divergence http://127.0.0.1:30000 --adapter planner --adapter coder
        agentrt lora divergence http://127.0.0.1:30000 --prompts mine.jsonl --json -

    Parameters
    ----------
    engine
        URL of an engine started by agentrt serve with --lora and --lora-sharing.
    adapter
        Names of adapters to compare, each with each. By default all.
    prompts
        JSONL, a prompt a line: messages or text, and where wanted a continuation, which is then
        scored in place of the adapter's own reply. By default six prompts of 500 to 800 tokens.
    tokens
        Of a reply, at most.
    """
    asked = built_in_prompts() if prompts is None else read_prompts(prompts)
    with EngineApi(engine, engine_key, timeout_s=_ANSWER_TIMEOUT_S) as api:
        scoring = ScoringEngine(api)
        sharing = require_sharing(scoring)
        names = chosen_adapters(scoring, adapter)
        total = len(asked) * len(names) ** 2
        with RunProgress("comparing", total, "comparisons") as progress:
            pairs = measure(scoring, names, asked, tokens, progress.show)
    console.write_json(
        json,
        {
            "engine": scoring.url,
            "lora_sharing": sharing,
            "prompts": len(asked),
            "top_tokens": TOP,
            "pairs": [pair.document() for pair in pairs],
        },
    )
    to = console.results(json)
    to.print(f"{scoring.url}: sharing {sharing}, {len(asked)} prompts", markup=False)
    to.print(divergence_table(pairs))
    to.print(
        f"KL in nats per token, from below: the {TOP} likeliest tokens, all others as one.",
        style="dim",
    )
