"""Which engine this environment holds, and whether it fits the machine. Loads no engine.

Everything is read from the metadata of installed packages, so it takes milliseconds where
`import torch` takes seconds.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentrt_engine.device import Device
from agentrt_engine.errors import EngineError, EngineMismatch, EngineNotInstalled, PluginInactive
from agentrt_engine.requirements import (
    CPU_PACKAGES,
    CPU_PACKAGES_ALONE,
    CPU_TORCH,
    CUDA_PACKAGES,
    Requirement,
    engine_requirements,
)

PLUGIN_GROUP = "sglang.srt.plugins"
PLUGIN_NAME = "agentrt"

_TORCH_CUDA = re.compile(r"^cuda\b[^=]*=\s*(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What of an engine is installed.

    Attributes:
        versions: package → version, of those that some engine needs.
        torch_device: what the installed torch was built for; None without torch.
        plugin: whether SGLang will find the entry point of our plug-in.
    """

    versions: Mapping[str, str]
    torch_device: Device | None
    plugin: bool


def read_inventory() -> Inventory:
    """The inventory of the running environment."""
    versions = installed_versions(CPU_TORCH + CPU_PACKAGES + CPU_PACKAGES_ALONE + CUDA_PACKAGES)
    plugins = importlib.metadata.entry_points(group=PLUGIN_GROUP, name=PLUGIN_NAME)
    return Inventory(versions, _torch_device() if "torch" in versions else None, bool(plugins))


def installed_versions(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Package → version, of those that are installed."""
    versions = {}
    for requirement in requirements:
        try:
            versions[requirement.name] = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def engine_problem(device: Device, inventory: Inventory) -> EngineError | None:
    """Why `inventory` holds no usable engine for `device`; None when it does."""
    install = f"agentrt engine install --device {device}"
    wanted = engine_requirements(device)
    missing = [r for r in wanted if r.name not in inventory.versions]
    if core := [r for r in missing if r.name in ("sglang", "torch")]:
        return EngineNotInstalled(f"no engine is installed: no {_names(core)}", hint=install)
    if inventory.torch_device is not device:
        built_for = inventory.torch_device or "an unknown device"
        return EngineMismatch(
            f"torch {inventory.versions['torch']} is built for {built_for}, not for {device}",
            hint=f"in a new virtual environment: {install}",
        )
    for requirement in wanted:
        found = inventory.versions.get(requirement.name)
        if found is not None and not requirement.satisfied_by(inventory.versions):
            return EngineMismatch(
                f"{requirement.name} {found} is installed, expected {requirement}", hint=install
            )
    if missing:
        return EngineNotInstalled(
            f"packages of the engine are missing: {_names(missing)}", hint=install
        )
    if not inventory.plugin:
        return PluginInactive(
            f"SGLang would not load our plug-in: no entry point {PLUGIN_NAME} in {PLUGIN_GROUP}",
            hint="install agentrt again, so that its entry points are recorded",
        )
    return None


def require_engine(device: Device) -> None:
    """Return when SGLang can be started on `device` from this environment.

    Raises:
        EngineNotInstalled: packages are missing.
        EngineMismatch: a package has another version, or torch is for another device.
        PluginInactive: SGLang would run without our plug-in.
    """
    problem = engine_problem(device, read_inventory())
    if problem is not None:
        raise problem


def require_packages(purpose: str, packages: Iterable[str]) -> None:
    """Return when what a purpose needs of the engine's packages is installed.

    Raises:
        EngineNotInstalled: it is not.
    """
    for package in packages:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise EngineNotInstalled(
                f"{purpose} needs {package}, which is not installed",
                hint="agentrt engine install",
            ) from None


def _torch_device() -> Device | None:
    """From torch's own record of its build, which is right where a version's local part is not."""
    record = importlib.metadata.distribution("torch").locate_file("torch/version.py")
    try:
        match = _TORCH_CUDA.search(Path(str(record)).read_text("utf-8"))
    except OSError:
        return None
    if match is None:
        return None
    return Device.CPU if match[1] == "None" else Device.CUDA


def _names(missing: list[Requirement]) -> str:
    return ", ".join(requirement.name for requirement in missing)
