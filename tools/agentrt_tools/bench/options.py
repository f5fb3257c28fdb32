"""Options that all benchmarks have, in one wording."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from agentrt import EngineSettings
from agentrt.cli.options import DeviceChoice, JsonTarget
from agentrt.cli.run_job import RUNS_FOLDER
from agentrt.embedded import API_KEY_VARIABLE, URL_VARIABLE
from agentrt.errors import SettingError
from agentrt.journal.runs import run_name
from agentrt.replay.policy_list import split_policies
from agentrt.testing import ScriptedModel
from agentrt_engine.policy import live_policy_names, make_live_policy
from agentrt_engine.sglang.options import DType
from agentrt_tools.bench.engines import EngineChoice
from agentrt_tools.bench.job import Open
from agentrt_tools.bench.pauses import MEASURED, Pauses


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """Which engine, which policies, how many entries, and where to."""

    url: Annotated[
        str | None, Parameter(env_var=URL_VARIABLE, help="An OpenAI-compatible engine.")
    ] = None
    api_key: Annotated[
        str | None, Parameter(env_var=API_KEY_VARIABLE, help="Key that the engine asks for.")
    ] = None
    model: Annotated[
        str | None,
        Parameter(
            help="Name of a fetched model, path of a Hugging Face folder, or one of the reference "
            "models that are named above."
        ),
    ] = None
    policy: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="Policies to compare, separated by commas; each gets an engine of its own, one "
            "after another.",
        ),
    ] = None
    device: Annotated[DeviceChoice, Parameter(help="What the engine computes on.")] = (
        DeviceChoice.AUTO
    )
    kv_tokens: Annotated[int | None, Parameter(help="Capacity of its KV cache in tokens.")] = None
    dtype: Annotated[DType, Parameter(help="Its precision; auto is the model's own.")] = DType.AUTO
    limit: Annotated[int | None, Parameter(help="Entries, taken evenly from all.")] = None
    pauses: Annotated[
        str,
        Parameter(
            help="Added to the tools' own times: measured adds nothing; trace:FILE draws from the "
            "tool times of a trace; dist:NAME:NUMBERS from fixed:S, uniform:LOW,HIGH, exp:MEAN, "
            "lognormal:MEDIAN,SIGMA or pareto:ALPHA,LOW,HIGH (seconds)."
        ),
    ] = MEASURED
    seed: Annotated[
        int, Parameter(help="Of the pauses: each call's is the same under every policy.")
    ] = 1
    out: Annotated[
        Path | None,
        Parameter(help="Folder for results.jsonl and the traces; by default below traces/runs."),
    ] = None
    json: JsonTarget = None

    def policies(self, references: Collection[str]) -> list[str | None]:
        """Those to run under, in order; None leaves it to the engine.

        Args:
            references: models that are no engine's.

        Raises:
            SettingError: a policy is unknown, or no engine is started that could have one.
        """
        policies = split_policies(self.policy or (), live_policy_names())
        for each in policies:
            make_live_policy(each)
        if policies and (self.url is not None or self.model in references):
            raise SettingError(
                "--policy is of an engine that this command starts",
                hint=f"leave out --policy, or --url and --model {', '.join(references)}",
            )
        return [*policies] or [None]

    def settings(self) -> dict[str, Any]:
        """What results depend on, of these."""
        return {
            "model": self.model,
            "url": self.url,
            "kv_tokens": self.kv_tokens,
            "device": self.device.value,
            "dtype": self.dtype.value,
            "pauses": self.pauses,
            "seed": self.seed,
        }

    def folder(self, benchmark: str) -> Path:
        """Where results go."""
        return self.out or RUNS_FOLDER / run_name(benchmark, datetime.now())

    def open(self, reference: ScriptedModel | None, notes: Mapping[str, Any]) -> Open:
        """What opens a runtime: on a reference model, else on the engines that are asked for.

        Args:
            notes: for the headers of traces.
        """
        if reference is not None:
            return lambda _policy, trace: reference.connect(trace=trace, trace_notes=notes)
        device = None if self.device is DeviceChoice.AUTO else self.device.resolve()
        settings = EngineSettings(
            model=self.model, device=device, kv_tokens=self.kv_tokens, dtype=self.dtype
        )
        return EngineChoice(self.url, self.api_key, settings, notes).open


def notes_of(benchmark: str, pauses: Pauses) -> dict[str, Any]:
    """What the header of a trace says of the run."""
    return {"benchmark": benchmark, "pauses": pauses.spec, "pauses_injected": pauses.injected}


def require_positive(**numbers: float | None) -> None:
    """Check options that count or measure something; None is not given.

    Raises:
        SettingError: one is less than one, or no seconds at all.
    """
    for name, number in numbers.items():
        if number is None:
            continue
        counts = isinstance(number, int)
        if not (number >= 1 if counts else number > 0):
            expected = "at least 1" if counts else "more than 0"
            raise SettingError(f"--{name.replace('_', '-')} is {number:g}: expected {expected}")
