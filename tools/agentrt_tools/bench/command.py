"""`agentrt bench`: benchmarks of agents, contributed to the command line."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from agentrt.cli import console
from agentrt_tools.bench.packages import PACKAGES, plan
from agentrt_tools.bench.packages import install as install_packages
from agentrt_tools.bfcl.command import bfcl
from agentrt_tools.swebench.command import swebench

app = App(name="bench")
app.command(bfcl)
app.command(swebench)


@app.command
def install(
    benchmark: Literal["bfcl", "swebench"],
    *,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Install what a benchmark needs into the environment that agentrt runs in.

    Its own requirements would replace the engine's packages, so it is installed without them.

    Examples:

        agentrt bench install bfcl
        agentrt bench install swebench --dry-run

    Parameters
    ----------
    benchmark
        Which one.
    dry_run
        Print the pip commands and change nothing.
    """
    if dry_run:
        for step in plan(benchmark):
            console.out.print(step.shown(), markup=False, soft_wrap=True)
        return
    with console.Stages() as stages:
        changed = install_packages(benchmark, report=stages.stage, detail=stages.detail)
    names = ", ".join(map(str, PACKAGES[benchmark]))
    done = "installed" if changed else "there; nothing to do"
    console.progress.print(f"{names}: {done}", soft_wrap=True)
