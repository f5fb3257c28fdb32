"""Install an engine into the running environment: the plan is pure, pip does the work.

CPU: torch alone, checked before and after to be a CPU build; then what SGLang imports; then
SGLang without its dependencies. CUDA: SGLang as it is. Steps that are already satisfied are
left out, so that a repeated or interrupted install costs only what is missing.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrt_engine.cache import logs_dir
from agentrt_engine.device import Device, gpu_evidence
from agentrt_engine.errors import EngineInstallFailed, EngineMismatch
from agentrt_engine.installed import (
    Inventory,
    engine_problem,
    read_inventory,
)
from agentrt_engine.kernels.native.build import CannotBuild, build_kernels
from agentrt_engine.pip import pip_command, run_pip
from agentrt_engine.requirements import (
    CPU_PACKAGES,
    CPU_PACKAGES_ALONE,
    CPU_TORCH,
    CPU_TORCH_VERSION,
    CUDA_PACKAGES,
    Requirement,
)

TORCH_INDEX_VARIABLE = "AGENTRT_TORCH_INDEX"

_TORCH_INDEX_HINT = (
    "name a package index with CPU builds of torch: "
    f"agentrt engine install --device cpu --torch-index URL (or {TORCH_INDEX_VARIABLE}=URL)"
)
_CUDA_DEPENDENCY = re.compile(r"(nvidia|cuda)[-_]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One call of pip.

    Attributes:
        title: what is installed, for people.
        requirements: all of the step's packages; pip skips those that are there.
        options: for pip.
        torch: the build that torch must have after the step; None when it installs no torch.
    """

    title: str
    requirements: tuple[Requirement, ...]
    options: tuple[str, ...] = ()
    torch: Device | None = None

    def command(self, *extra: str) -> list[str]:
        """The command line, `extra` options included.

        Raises:
            EngineInstallFailed: this environment has no pip.
        """
        packages = [str(requirement) for requirement in self.requirements]
        return pip_command("install", "--progress-bar=off", *extra, *self.options, *packages)

    def shown(self) -> str:
        """The command as one would type it."""
        packages = [str(requirement) for requirement in self.requirements]
        return shlex.join(["pip", "install", *self.options, *packages])


def plan_install(
    device: Device, inventory: Inventory, gpu: str | None, torch_index: str | None = None
) -> list[Step]:
    """The steps that are still to be taken, in order; empty when the engine is complete.

    Args:
        device: what the engine is for.
        inventory: what is installed.
        gpu: what shows that the machine has a CUDA device (`gpu_evidence`), None without one.
        torch_index: a package index that is asked for torch besides the configured ones.

    Raises:
        EngineMismatch: the set does not fit the machine, or the other set is installed.
    """
    _refuse_wrong_machine(device, gpu)
    if inventory.torch_device not in (None, device):
        raise EngineMismatch(
            f"this environment holds torch {inventory.versions['torch']} for "
            f"{inventory.torch_device}: the sets for cpu and cuda exclude each other",
            hint=f"in a new virtual environment: agentrt engine install --device {device}",
        )
    if device is Device.CUDA:
        steps = [Step(f"SGLang for CUDA ({CUDA_PACKAGES[0]})", CUDA_PACKAGES, torch=Device.CUDA)]
    else:
        index = (f"--extra-index-url={torch_index}",) if torch_index else ()
        steps = [
            Step(f"torch {CPU_TORCH_VERSION} for CPU", CPU_TORCH, index, torch=Device.CPU),
            # torch is named again so that no other package can replace it.
            Step("packages that SGLang imports", CPU_TORCH + CPU_PACKAGES),
            Step(f"SGLang ({CPU_PACKAGES_ALONE[0]})", CPU_PACKAGES_ALONE, ("--no-deps",)),
        ]
    return [
        step
        for step in steps
        if not all(
            requirement.satisfied_by(inventory.versions) for requirement in step.requirements
        )
    ]


def install_engine(
    device: Device,
    *,
    torch_index: str | None = None,
    report: Callable[[str], None] = lambda stage: None,
    detail: Callable[[str], None] = lambda line: None,
) -> bool:
    """Install what is missing of the engine for `device`.

    Args:
        device: what the engine is for.
        torch_index: see `plan_install`.
        report: receives the name of each stage when it starts.
        detail: receives pip's lines.

    Returns:
        Whether anything had to be installed.

    Raises:
        EngineMismatch: see `plan_install`.
        EngineInstallFailed: pip failed, or what it would install is for another device.
        PluginInactive: SGLang would run without our plug-in.
    """
    steps = plan_install(device, read_inventory(), gpu_evidence(), torch_index)
    log = logs_dir() / "engine-install.log"
    if steps:
        log.unlink(missing_ok=True)
    for step in steps:
        if step.torch is Device.CPU:
            report("asking pip which build of torch it would take")
            _check_before(step, log, detail)
        report(step.title)
        run_pip(step.command(), step.title, log, detail)
        if step.torch is not None:
            _check_after(step.torch)
    problem = engine_problem(device, read_inventory())
    if problem is not None:
        raise problem
    if device is Device.CPU:
        try:
            build_kernels(lambda: report("compiling kernels for this processor"))
        except CannotBuild as missing:  # the engine decodes in torch then
            detail(f"no native kernels: {missing}")
    return bool(steps)


def torch_device_in_report(pip_report: Mapping[str, Any]) -> tuple[str, Device]:
    """Version and device of the torch that `pip install --dry-run --report` would install.

    A CUDA build says so in the local part of its version (`+cu130`) or, on the common index,
    by the CUDA packages among its dependencies.

    Raises:
        EngineInstallFailed: the report names no torch.
    """
    for item in pip_report.get("install", ()):
        metadata = item["metadata"]
        if metadata["name"].lower() == "torch":
            version = str(metadata["version"])
            cuda = "+cu" in version or any(
                _CUDA_DEPENDENCY.match(dependency)
                for dependency in metadata.get("requires_dist", ())
            )
            return version, Device.CUDA if cuda else Device.CPU
    raise EngineInstallFailed("pip's report names no torch", hint=_TORCH_INDEX_HINT)


def _refuse_wrong_machine(device: Device, gpu: str | None) -> None:
    if device is Device.CPU and gpu is not None:
        raise EngineMismatch(
            f"this machine has a CUDA device ({gpu}): the CPU set would hide SGLang's kernels",
            hint="agentrt engine install --device cuda",
        )
    if device is Device.CUDA and gpu is None:
        raise EngineMismatch(
            "this machine has no CUDA device: no /dev/nvidia*, nothing from nvidia-smi",
            hint="agentrt engine install --device cpu",
        )


def _check_before(step: Step, log: Path, detail: Callable[[str], None]) -> None:
    """Is it a CPU build? Asked before gigabytes of CUDA packages are downloaded.

    pip before 23.3 downloads torch's own wheel for the answer, into a cache that the
    installation then uses.
    """
    with tempfile.TemporaryDirectory(prefix="agentrt-") as folder:
        report = Path(folder) / "report.json"
        command = step.command("--dry-run", "--no-deps", f"--report={report}")
        run_pip(command, step.title, log, detail, hint=_TORCH_INDEX_HINT)
        version, device = torch_device_in_report(json.loads(report.read_bytes()))
    if device is not step.torch:
        raise EngineInstallFailed(
            f"pip would take torch {version}, a CUDA build with gigabytes of CUDA packages",
            hint=_TORCH_INDEX_HINT,
        )


def _check_after(expected: Device) -> None:
    """The installed torch answers for itself, in a process of its own."""
    probe = "import torch; print(torch.__version__, 'cuda' if torch.version.cuda else 'cpu')"
    asked = subprocess.run([sys.executable, "-P", "-c", probe], capture_output=True, text=True)
    if asked.returncode != 0:
        reason = asked.stderr.strip().splitlines()[-1:] or [f"exit code {asked.returncode}"]
        raise EngineInstallFailed(
            f"torch was installed but cannot be imported: {reason[0]}",
            hint="in a new virtual environment: agentrt engine install",
        )
    version, device = asked.stdout.split()
    if device != expected:
        raise EngineInstallFailed(
            f"torch {version} was installed, a build for {device} instead of {expected}",
            hint=_TORCH_INDEX_HINT if expected is Device.CPU else "",
        )
