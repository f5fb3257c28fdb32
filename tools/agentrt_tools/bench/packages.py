"""Packages of the benchmarks, which their own requirements would keep away from an engine."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from agentrt.errors import SettingError
from agentrt_engine.cache import logs_dir
from agentrt_engine.install import Step
from agentrt_engine.installed import installed_versions
from agentrt_engine.pip import run_pip
from agentrt_engine.requirements import Requirement

#: It asks for another torch, an old numpy and a dozen clients of models: installed alone. The
#: others are what its back ends import; those of the memory categories all but mpmath.
BFCL = tuple(
    map(
        Requirement.parse,
        (
            "bfcl-eval==2026.3.23",
            "mpmath==1.3.0",
            "filelock",
            "numpy",
            "overrides",
            "rank_bm25==0.2.2",
        ),
    )
)

#: Both ask for clients of models, Docker and data sets; the loop of the one and the graders of
#: the other use none.
SWEBENCH = tuple(
    map(
        Requirement.parse,
        (
            "mini-swe-agent==2.4.6",
            "swebench==5.0.2",
            "jinja2",
            "markupsafe",
            "python-dotenv",
            "pyyaml",
            "unidiff",
        ),
    )
)

PACKAGES = {"bfcl": BFCL, "swebench": SWEBENCH}


def plan(benchmark: str) -> list[Step]:
    """The calls of pip that are still to be made."""
    wanted = PACKAGES[benchmark]
    versions = installed_versions(wanted)
    missing = tuple(each for each in wanted if not each.satisfied_by(versions))
    return [Step(", ".join(map(str, missing)), missing, ("--no-deps",))] if missing else []


def install(
    benchmark: str,
    *,
    report: Callable[[str], None] = lambda stage: None,
    detail: Callable[[str], None] = lambda line: None,
) -> bool:
    """Install what a benchmark needs; whether anything was missing.

    Raises:
        EngineInstallFailed: pip failed.
    """
    steps = plan(benchmark)
    for step in steps:
        report(step.title)
        run_pip(step.command(), step.title, logs_dir() / "bench-install.log", detail)
    importlib.invalidate_caches()
    return bool(steps)


def bfcl_data() -> Path:
    """The folder `data` of the installed package.

    Raises:
        SettingError: it is not installed, or in another version.
    """
    require("bfcl")
    spec = importlib.util.find_spec("bfcl_eval")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "data"


def require(benchmark: str) -> None:
    """Check that what a benchmark needs is there.

    Raises:
        SettingError: it is not installed, or in another version.
    """
    if problem := _problem(benchmark):
        raise SettingError(problem, hint=f"agentrt bench install {benchmark}")


def _problem(benchmark: str) -> str:
    wanted = PACKAGES[benchmark]
    versions = installed_versions(wanted)
    for each in wanted:
        if each.name not in versions:
            return f"{each.name} is not installed"
        if not each.satisfied_by(versions):
            return f"{each.name} {versions[each.name]} is installed, expected {each}"
    return ""
