"""`agentrt calibrate`: a cost profile of a live server."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter

from agentrt.calibrate.document import Calibration
from agentrt.calibrate.fit import fit_costs
from agentrt.calibrate.probe import connected
from agentrt.calibrate.profile_file import make_profile, profile_text, write_profile
from agentrt.calibrate.session import Session
from agentrt.calibrate.sizes import QUICK, USUAL
from agentrt.calibrate.target import ServerFacts
from agentrt.cli import console
from agentrt.cli.calibrate_view import print_calibration
from agentrt.cli.engine_api import EngineKey
from agentrt.cli.options import JsonTarget
from agentrt.cli.simulated_options import positive
from agentrt.errors import CalibrationError
from agentrt.version import __version__

#: How long the server may take to be cleaned.
_CLEAN_S = 5.0


def calibrate(
    url: str,
    *,
    model: str | None = None,
    engine_key: EngineKey = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    quick: Annotated[bool, Parameter(negative="")] = False,
    kv_bytes_per_token: Annotated[float | None, Parameter(validator=positive)] = None,
    seed: int = 1,
    json: JsonTarget = None,
) -> None:
    """Measure a live server and write its cost profile, for agentrt replay and plan.

    Measured from outside, with random prompts of token ids: prefill at several lengths, the same
    behind a cached prefix, decoding at several numbers of requests and lengths of context, and
    both at once. A cost model of a step is fitted, and what it predicts is printed beside what
    was measured. The server must have nothing else to do; its prefix cache is flushed at the end
    where it can be. Takes about two minutes on a CPU.

    Examples:

        agentrt calibrate http://127.0.0.1:30000 --output mine.toml
        agentrt calibrate http://127.0.0.1:30000 --quick --json -
        agentrt replay agents.jsonl.gz --profile mine.toml --kv-tokens 32k

    Parameters
    ----------
    url
        SGLang, or any server that takes token ids at /v1/completions.
    model
        Which of the models that it serves; by default the first.
    output
        Write the profile to this TOML file; printed if absent.
    quick
        Half a minute instead of two: shorter prompts, fewer repetitions.
    kv_bytes_per_token
        Bytes of KV per token, over all layers and ranks, where the server does not say.
    seed
        Of the prompts and the order of measurements.
    """
    with console.Stages() as stages:
        job = _Job(url, engine_key, model, kv_bytes_per_token, seed, quick, output, stages)
        calibration = anyio.run(job.run)
    if output is not None:
        # What was read back is what is shown: the file is proven to be usable.
        calibration = replace(calibration, profile=write_profile(output, calibration.profile))
    console.write_json(json, calibration.document())
    to = console.results(json)
    print_calibration(to, calibration)
    to.print()
    if output is None:
        to.print(profile_text(calibration.profile), markup=False, soft_wrap=True, end="")
    else:
        to.print(f"wrote {output}: agentrt replay TRACE --profile {output}", markup=False)


@dataclass(frozen=True, slots=True)
class _Job:
    """One calibration."""

    url: str
    key: str | None
    model: str | None
    kv_bytes_per_token: float | None
    seed: int
    quick: bool
    output: Path | None
    stages: console.Stages

    async def run(self) -> Calibration:
        began = time.monotonic()
        self.stages.stage(f"connecting to {self.url}")
        async with connected(self.url, self.key, self.model) as (target, facts):
            kv_bytes = self.kv_bytes_per_token or facts.kv_bytes_per_token
            if kv_bytes is None:
                raise CalibrationError(
                    f"{facts.url} does not say how large its KV cache is",
                    hint="add --kv-bytes-per-token: 2 · layers · KV heads · head size · bytes each",
                )
            effort = QUICK if self.quick else USUAL
            session = Session(
                target, facts, effort, self.seed, self.stages.stage, self.stages.detail
            )
            try:
                measurements = await session.measure()
            finally:
                # Also after Ctrl-C: the contexts would take memory from others.
                with anyio.move_on_after(_CLEAN_S, shield=True):
                    await target.clean(session.programs)
        fit = fit_costs(measurements)
        profile = make_profile(
            fit,
            name=self.output.stem if self.output else "calibrated",
            title=facts.title,
            source=self._source(facts),
            kv_bytes_per_token=kv_bytes,
        )
        seconds = time.monotonic() - began
        return Calibration(facts, measurements, fit, profile, session.notes, self.seed, seconds)

    def _source(self, facts: ServerFacts) -> str:
        quick = " --quick" if self.quick else ""
        return (
            f"measured {date.today().isoformat()}: {facts.model}, {facts.engine}, agentrt "
            f"{__version__}, agentrt calibrate {facts.url}{quick} --seed {self.seed}"
        )
