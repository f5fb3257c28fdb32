"""What an engine computes on, and what this machine has."""

from __future__ import annotations

import shutil
import subprocess
from enum import StrEnum
from pathlib import Path

_NVIDIA_SMI_TIMEOUT_S = 20.0


class Device(StrEnum):
    """What the engine computes on."""

    CPU = "cpu"
    CUDA = "cuda"


def gpu_evidence(root: Path = Path("/")) -> str | None:
    """What shows that this machine has a CUDA device; None when nothing does.

    `CUDA_VISIBLE_DEVICES` plays no part: it hides devices from one process, and an
    environment outlives a process.
    """
    nodes = sorted((root / "dev").glob("nvidia[0-9]*"))
    if nodes:
        return str(nodes[0])
    if driver := next((root / "proc/driver/nvidia/gpus").glob("*"), None):
        return str(driver)
    # Where devices have other names (WSL), the driver's tool still lists them.
    if tool := shutil.which("nvidia-smi"):
        try:
            listed = subprocess.run(
                [tool, "-L"], capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if listed.returncode == 0 and listed.stdout.startswith("GPU "):
            return f"nvidia-smi: {listed.stdout.splitlines()[0]}"
    return None


def detect_device() -> Device:
    """The device that an engine on this machine should use."""
    return Device.CPU if gpu_evidence() is None else Device.CUDA
