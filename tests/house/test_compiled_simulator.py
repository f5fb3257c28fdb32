"""The simulator, compiled into a wheel, against the same modules as plain Python."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from agentrt_engine.simulated.compiled import is_compiled
from tests.support.light_environment import ROOT
from tests.support.simulated_outcomes import Report

REGISTERED = ("guard", "lru", "continuum")

POLICY = """
from agentrt_engine.policy import BasePolicy
from agentrt_engine.policy.base import least_recently_used, take

class ShortestPromptFirst(BasePolicy):
    name = "shortest-prompt-first"
    ranks_are_fixed = False

    def rank(self, now, turn):
        return (not turn.preempted, turn.prompt_tokens, turn.queued_s)

    def reclaim(self, now, turn, need, idle, engine, *, backfill):
        largest_first = sorted(least_recently_used(idle), key=lambda context: -context.tokens)
        return take(largest_first, need)
"""

needs_compiler = pytest.mark.skipif(
    subprocess.run(["sh", "-c", "command -v cc"], stdout=subprocess.DEVNULL).returncode != 0,
    reason="no C compiler (cc)",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with the compiled simulator."""
    folder = tmp_path_factory.mktemp("compiled")
    built = build("wheel", folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("agentrt-*.whl")
    return wheel


@pytest.fixture(scope="module")
def reports(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Report]:
    """Of the compiled and of the plain simulator."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    policy = folder / "shortest_prompt_first.py"
    policy.write_text(POLICY)
    policies = (*REGISTERED, str(policy))
    return outcomes(folder, policies), outcomes(ROOT / "engine", policies)


@needs_compiler
def test_the_wheel_holds_the_extensions_beside_their_sources(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    extensions = {name.partition(".")[0] for name in names if "/" in name and name.endswith(".so")}
    sources = {name.removesuffix(".py") for name in names if name.endswith(".py")}
    simulated = {name for name in sources if name.startswith("agentrt_engine/simulated/")}
    plain = {f"agentrt_engine/simulated/{name}" for name in ("__init__", "compiled", "profile")}
    statistics = {
        f"agentrt_engine/policy/{name}" for name in ("durations", "empirical", "histogram")
    }
    assert extensions == simulated - plain | statistics
    assert "none-any" not in wheel.name


@needs_compiler
def test_it_says_whether_it_is_compiled(reports: tuple[Report, Report]) -> None:
    compiled, plain = reports
    assert (compiled.compiled, Path(compiled.file).suffix) == (True, ".so")
    assert (plain.compiled, Path(plain.file).suffix) == (False, ".py")


@needs_compiler
@pytest.mark.parametrize("policy", [*REGISTERED, "shortest_prompt_first"])
def test_the_outcomes_are_the_same(reports: tuple[Report, Report], policy: str) -> None:
    """Nothing is only close: virtual time is whole, and each float comes from the same sums.

    `int / int` would differ in its last digit: Python rounds the quotient once, compiled code
    rounds both sides first. So does `sum` over floats from Python 3.12 on. Neither is used.
    """
    compiled, plain = (
        next(runs for name, runs in report.outcomes.items() if policy in name) for report in reports
    )
    assert compiled == plain
    for run in plain:
        assert sum(program.lost_tokens for program in run.programs) > 0  # something to decide
    assert plain[0].makespan_s * 1e12 > 2**53  # picoseconds that not every float can hold


def test_an_editable_installation_is_never_compiled(tmp_path: Path) -> None:
    refused = build("editable", tmp_path)
    assert refused.returncode == 1
    assert "AGENTRT_COMPILE=1: an editable installation is never compiled" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_there_is_no_wheel(tmp_path: Path) -> None:
    refused = build("wheel", tmp_path, {"CC": "no-such-compiler"})
    assert refused.returncode == 1
    assert "there is no C compiler 'no-such-compiler'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(tmp_path.iterdir())


def test_this_environment_is_not_compiled() -> None:
    assert not is_compiled()


def build(
    kind: str, folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What pip asks the build backend for, with AGENTRT_COMPILE=1."""
    code = f"from hatchling import build; build.build_{kind}({str(folder)!r})"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"AGENTRT_COMPILE": "1"} | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=300,
    )


def outcomes(modules: Path, policies: tuple[str, ...]) -> Report:
    """What the simulator in a folder comes to."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.support.simulated_outcomes", *policies],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(modules)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=Report)
