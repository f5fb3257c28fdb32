"""`agentrt engine install`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from agentrt.cli import console
from agentrt.cli.options import DeviceChoice
from agentrt_engine.device import gpu_evidence
from agentrt_engine.install import TORCH_INDEX_VARIABLE, install_engine, plan_install
from agentrt_engine.installed import read_inventory
from agentrt_engine.requirements import SGLANG_VERSION

app = App(name="engine", help="Install the engine that runs models.")


@app.command
def install(
    *,
    device: DeviceChoice = DeviceChoice.AUTO,
    torch_index: Annotated[str | None, Parameter(env_var=TORCH_INDEX_VARIABLE)] = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Install SGLang and torch for this machine into the environment that agentrt runs in.

    Only what is missing is installed; when nothing is, the command returns at once. Packages
    come from the indexes that pip is configured for (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL,
    PIP_FIND_LINKS, pip.conf). On a CPU, torch must be a CPU build: where the common index
    only has CUDA builds, name one that has both.

    Examples:

        agentrt engine install
        agentrt engine install --device cpu --torch-index https://INDEX/WITH/CPU/BUILDS
        agentrt engine install --dry-run

    Parameters
    ----------
    device
        What the engine computes on; auto takes the GPU when there is one. The packages for
        cpu and cuda exclude each other: one environment holds one of them.
    torch_index
        Index that pip also asks for torch.
    dry_run
        Print the pip commands and change nothing.
    """
    chosen = device.resolve()
    if dry_run:
        steps = plan_install(chosen, read_inventory(), gpu_evidence(), torch_index)
        for step in steps:
            console.out.print(step.shown(), markup=False, soft_wrap=True)
        if steps:
            return
    else:
        with console.Stages() as stages:
            changed = install_engine(
                chosen, torch_index=torch_index, report=stages.stage, detail=stages.detail
            )
        if changed:
            console.progress.print(f"SGLang {SGLANG_VERSION} for {chosen} is ready")
            return
    console.progress.print(f"SGLang {SGLANG_VERSION} for {chosen} is installed; nothing to do")
