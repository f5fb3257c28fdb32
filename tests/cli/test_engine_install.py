"""What `agentrt engine install` decides. With the real pip: tests/house."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentrt_engine.device import Device, gpu_evidence
from agentrt_engine.errors import EngineInstallFailed, EngineMismatch
from agentrt_engine.install import plan_install, torch_device_in_report
from agentrt_engine.installed import Inventory
from agentrt_engine.requirements import Requirement, engine_requirements

GPU = "/dev/nvidia0"
EMPTY = Inventory({}, None, plugin=True)


def test_the_cpu_engine_is_installed_in_three_steps() -> None:
    torch, packages, alone = plan_install(Device.CPU, EMPTY, None, "https://index.invalid")
    assert torch.shown() == "pip install --extra-index-url=https://index.invalid torch==2.13.0"
    assert torch.torch is Device.CPU
    assert packages.options == ()
    assert Requirement("torch", "==", "2.13.0") in packages.requirements
    assert alone.options == ("--no-deps",)
    assert {r.name for r in alone.requirements} == {
        "sglang",
        "compressed-tensors",
        "xgrammar",
        "torchvision",
    }


def test_the_cuda_engine_is_plain_sglang() -> None:
    (step,) = plan_install(Device.CUDA, EMPTY, GPU)
    assert step.shown() == "pip install sglang==0.5.23 httptools"
    assert step.torch is Device.CUDA


@pytest.mark.parametrize(("device", "gpu"), [(Device.CPU, None), (Device.CUDA, GPU)])
def test_a_complete_engine_needs_no_step(device: Device, gpu: str | None) -> None:
    versions = {r.name: r.version or "1.0" for r in engine_requirements(device)}
    assert plan_install(device, Inventory(versions, device, plugin=True), gpu) == []


def test_an_interrupted_installation_goes_on_where_it_was() -> None:
    inventory = Inventory({"torch": "2.13.0+cpu"}, Device.CPU, plugin=True)
    _, *remaining = plan_install(Device.CPU, EMPTY, None)
    assert plan_install(Device.CPU, inventory, None) == remaining


def test_another_sglang_is_replaced() -> None:
    versions = {r.name: r.version or "1.0" for r in engine_requirements(Device.CPU)}
    versions["sglang"] = "0.5.22"
    (step,) = plan_install(Device.CPU, Inventory(versions, Device.CPU, plugin=True), None)
    assert "sglang==0.5.23" in step.shown()


def test_the_cpu_set_is_refused_where_a_gpu_is() -> None:
    with pytest.raises(EngineMismatch, match=GPU) as caught:
        plan_install(Device.CPU, EMPTY, GPU)
    assert caught.value.hint == "agentrt engine install --device cuda"


def test_the_cuda_set_is_refused_where_no_gpu_is() -> None:
    with pytest.raises(EngineMismatch, match="no CUDA device") as caught:
        plan_install(Device.CUDA, EMPTY, None)
    assert caught.value.hint == "agentrt engine install --device cpu"


@pytest.mark.parametrize(
    ("device", "gpu", "there"), [(Device.CPU, None, Device.CUDA), (Device.CUDA, GPU, Device.CPU)]
)
def test_the_two_sets_are_not_mixed(device: Device, gpu: str | None, there: Device) -> None:
    with pytest.raises(EngineMismatch, match=f"holds torch 2.13.0 for {there}") as caught:
        plan_install(device, Inventory({"torch": "2.13.0"}, there, plugin=True), gpu)
    assert "new virtual environment" in caught.value.hint


@pytest.mark.parametrize(
    ("version", "requires", "device"),
    [
        ("2.13.0+cpu", ["filelock", "sympy>=1.13"], Device.CPU),
        ("2.13.0", ["filelock"], Device.CPU),
        ("2.13.0+cu130", ["filelock"], Device.CUDA),
        ("2.13.0", ["filelock", 'nvidia-cudnn-cu13==9; platform_system == "Linux"'], Device.CUDA),
        ("2.13.0", ["cuda-bindings<14,>=13"], Device.CUDA),
    ],
)
def test_the_build_of_torch_is_read_from_pips_report(
    version: str, requires: list[str], device: Device
) -> None:
    metadata = {"name": "torch", "version": version, "requires_dist": requires}
    assert torch_device_in_report({"install": [{"metadata": metadata}]}) == (version, device)


def test_a_report_without_torch_is_refused() -> None:
    with pytest.raises(EngineInstallFailed, match="names no torch"):
        torch_device_in_report({"install": []})


@pytest.mark.parametrize(
    ("requirement", "version", "satisfied"),
    [
        ("torch==2.13.0", "2.13.0+cpu", True),
        ("torch==2.13.0", "2.13.1", False),
        ("torch==2.13.0", None, False),
        ("openai>=3", "3.51.0", True),
        ("openai>=3", "10.0", True),
        ("openai>=3", "2.99.0", False),
        ("pip>=23.2", "23.2rc1", True),
        ("numpy", "0.1", True),
        ("numpy", None, False),
    ],
)
def test_requirements(requirement: str, version: str | None, satisfied: bool) -> None:
    parsed = Requirement.parse(requirement)
    assert str(parsed) == requirement
    assert parsed.satisfied_by({} if version is None else {parsed.name: version}) is satisfied


def test_a_device_node_is_evidence_of_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    assert gpu_evidence(tmp_path) == str(tmp_path / "dev/nvidia0")


def test_the_driver_is_evidence_of_a_gpu(tmp_path: Path) -> None:
    gpu = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0"
    gpu.mkdir(parents=True)
    assert gpu_evidence(tmp_path) == str(gpu)


@pytest.mark.parametrize(
    ("script", "evidence"),
    [
        ("echo 'GPU 0: H200 (UUID: x)'", "nvidia-smi: GPU 0: H200 (UUID: x)"),
        ("echo 'No devices were found'; exit 6", None),
        ("echo 'NVIDIA-SMI has failed'; exit 9", None),
    ],
)
def test_the_drivers_tool_is_asked_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, evidence: str | None
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpu_evidence(tmp_path) == evidence


def test_without_any_sign_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_evidence(tmp_path) is None
