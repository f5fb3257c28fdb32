"""`agentrt engine install` with the real pip, on indexes that hold the wrong torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentrt_engine.device import Device, detect_device
from agentrt_engine.requirements import CPU_TORCH_VERSION
from tests.support.light_environment import LightEnvironment
from tests.support.wheels import make_wheel

pytestmark = pytest.mark.skipif(
    detect_device() is Device.CUDA, reason="the CPU set is refused where a GPU is"
)

CUDA_BUILD = b"__version__ = '%s'\ncuda: str | None = '13.0'\n" % CPU_TORCH_VERSION.encode()

TORCH = b"from . import version\nfrom .version import __version__\n"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    return folder


@pytest.fixture
def clean(light: LightEnvironment) -> Iterator[LightEnvironment]:
    """The light environment; a torch that a test installed is removed."""
    yield light
    light.run("python", "-m", "pip", "uninstall", "--yes", "torch")


def install(light: LightEnvironment, index: Path, *options: str) -> tuple[int, str, str]:
    # No pip.conf either: it may name indexes and constraints of its own.
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull}
    done = light.run("agentrt", "engine", "install", "--device", "cpu", *options, env=env)
    return done.returncode, done.stdout, done.stderr


def has_torch(light: LightEnvironment) -> bool:
    return light.run("python", "-m", "pip", "show", "torch").returncode == 0


@pytest.mark.parametrize(
    ("version", "requires"),
    [(CPU_TORCH_VERSION, ["nvidia-cublas==13.0"]), (f"{CPU_TORCH_VERSION}+cu130", [])],
)
def test_a_cuda_build_is_refused_before_it_is_installed(
    clean: LightEnvironment, index: Path, version: str, requires: list[str]
) -> None:
    make_wheel(index, "torch", version, {"torch/version.py": CUDA_BUILD}, requires=requires)
    status, _, errors = install(clean, index)
    assert status == 1
    assert f"pip would take torch {version}, a CUDA build" in errors
    assert "--torch-index URL" in errors
    assert not has_torch(clean)


def test_a_cuda_build_in_disguise_is_found_after_it_was_installed(
    clean: LightEnvironment, index: Path
) -> None:
    package = {"torch/version.py": CUDA_BUILD, "torch/__init__.py": TORCH}
    make_wheel(index, "torch", f"{CPU_TORCH_VERSION}+cpu", package)
    status, _, errors = install(clean, index)
    assert status == 1
    assert "a build for cuda instead of cpu" in errors
    # And from then on the two are not mixed.
    status, _, errors = install(clean, index)
    assert status == 1
    assert "in a new virtual environment" in errors


def test_a_failure_of_pip_shows_its_last_lines_and_the_log(
    clean: LightEnvironment, index: Path
) -> None:
    status, _, errors = install(clean, index)
    assert status == 1
    assert "No matching distribution found for torch" in errors
    assert str(clean.home / "cache/logs/engine-install.log") in errors


def test_a_dry_run_prints_the_commands_and_installs_nothing(
    clean: LightEnvironment, index: Path
) -> None:
    status, plan, _ = install(clean, index, "--dry-run", "--torch-index", "https://index.invalid")
    assert status == 0
    torch, packages, alone = plan.splitlines()
    assert torch == (
        f"pip install --extra-index-url=https://index.invalid torch=={CPU_TORCH_VERSION}"
    )
    assert "https://index.invalid" not in packages + alone
    assert alone.startswith("pip install --no-deps sglang==")
    assert not has_torch(clean)


def test_without_pip_the_hint_is_to_install_it(clean: LightEnvironment, index: Path) -> None:
    hidden = clean.home / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\nsys.modules['pip'] = None\n"  # how an environment without pip looks
    )
    env = {"PYTHONPATH": str(hidden)}
    done = clean.run("agentrt", "engine", "install", "--device", "cpu", env=env)
    assert done.returncode == 1
    assert "has no pip" in done.stderr
    assert "ensurepip" in done.stderr
