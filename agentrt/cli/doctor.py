"""`agentrt doctor`: can an agent run here, and if not, which command mends it?"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum

from rich.table import Table
from rich.text import Text

from agentrt.cli import console
from agentrt.cli.options import DeviceChoice, JsonTarget
from agentrt.version import __version__
from agentrt_engine.device import Device, gpu_evidence
from agentrt_engine.errors import AgentrtError
from agentrt_engine.installed import Inventory, engine_problem, read_inventory
from agentrt_engine.models.folder import resolve_model
from agentrt_engine.models.integrity import check_model
from agentrt_engine.sglang.running import running_engines
from agentrt_engine.simulated.compiled import is_compiled

_PROBE_TIMEOUT_S = 10.0


class State(StrEnum):
    """Verdict on one part."""

    OK = "ok"
    WARNING = "warning"  # an agent can run without it
    MISSING = "missing"


_STYLES = {State.OK: "green", State.WARNING: "yellow", State.MISSING: "bold red"}


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one part, and the command that mends it (empty when nothing is wrong)."""

    part: str
    state: State
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All checks. `usable`: an agent could run now."""

    usable: bool
    checks: list[Check]


def doctor(
    model: str | None = None,
    *,
    device: DeviceChoice = DeviceChoice.AUTO,
    json: JsonTarget = None,
) -> int:
    """Say which engine and model are usable, what is missing, and the command that mends it.

    Exit code 0 when an agent could run now, 1 otherwise.

    Examples:

        agentrt doctor
        agentrt doctor ~/models/Qwen3-8B --json report.json

    Parameters
    ----------
    model
        Name of a fetched model or path of a Hugging Face folder; the default model when absent.
    device
        What the engine would compute on; auto takes the GPU when there is one.
    """
    diagnosis = diagnose(model, device.resolve())
    console.write_json(json, diagnosis)
    _print(diagnosis, json)
    return 0 if diagnosis.usable else 1


def diagnose(model: str | None, device: Device) -> Diagnosis:
    """Look at everything that running an agent on `device` needs."""
    inventory = read_inventory()
    engine = check_engine(device, inventory)
    weights = _check_weights(model)
    servers = _check_servers()
    checks = [
        Check("agentrt", State.OK, f"{__version__}, Python {platform.python_version()}"),
        _check_machine(device),
        engine,
        weights,
        _check_sandbox(),
        _check_simulator(),
        *servers,
    ]
    usable = engine.state is weights.state is State.OK or bool(servers)
    return Diagnosis(usable, checks)


def check_engine(device: Device, inventory: Inventory) -> Check:
    """Verdict on the installed engine."""
    problem = engine_problem(device, inventory)
    if problem is not None:
        return Check("engine", State.MISSING, str(problem), problem.hint)
    versions = inventory.versions
    found = f"SGLang {versions['sglang']} for {device}, torch {versions['torch']}, plug-in found"
    return Check("engine", State.OK, found)


def _check_machine(device: Device) -> Check:
    gpu = gpu_evidence()
    if gpu is None:
        found = f"{len(os.sched_getaffinity(0))} CPU cores, no CUDA device"
        if device is Device.CUDA:
            return Check("machine", State.MISSING, found, "use --device cpu")
        return Check("machine", State.OK, found)
    return Check("machine", State.OK, f"CUDA device: {gpu}")


def _check_weights(model: str | None) -> Check:
    try:
        folder = resolve_model(model)
        check_model(folder)
    except AgentrtError as error:
        return Check("model", State.MISSING, str(error), error.hint)
    return Check("model", State.OK, str(folder))


def _check_sandbox() -> Check:
    tool = shutil.which("bwrap")
    mend = "install bubblewrap, e.g. apt-get install bubblewrap"
    if tool is None:
        return Check("sandbox", State.WARNING, "no bubblewrap: tools run as plain processes", mend)
    probe = [tool, "--ro-bind", "/", "/", "--unshare-all", "true"]
    try:
        works = not subprocess.run(probe, capture_output=True, timeout=_PROBE_TIMEOUT_S).returncode
    except (OSError, subprocess.TimeoutExpired):
        works = False
    if works:
        return Check("sandbox", State.OK, f"bubblewrap ({tool})")
    found = f"{tool} may not make namespaces here: tools run as plain processes"
    return Check("sandbox", State.WARNING, found, "allow unprivileged user namespaces")


def _check_simulator() -> Check:
    if is_compiled():
        return Check("simulator", State.OK, "compiled")
    # Nothing is wrong, so there is nothing to mend.
    found = "plain Python; AGENTRT_COMPILE=1 pip install … makes it two to three times faster"
    return Check("simulator", State.OK, found)


def _check_servers() -> list[Check]:
    return [
        Check("server", State.OK, f"{engine.url} serves {engine.model} (process {engine.pid})")
        for engine in running_engines()
    ]


def _print(diagnosis: Diagnosis, json: JsonTarget) -> None:
    to = console.results(json)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in diagnosis.checks:
        found = Text(check.found)
        if check.mend:
            found.append(f"\n→ {check.mend}", style="bold")
        table.add_row(check.part, Text(check.state, style=_STYLES[check.state]), found)
    to.print(table, width=min(to.width, console.MAX_WIDTH))
    if diagnosis.usable:
        to.print("An agent can run here.")
    else:
        to.print("No agent can run here yet: take the steps marked with →.")
