"""The Triton kernels on a machine without a GPU: interpreted, and compiled for Hopper.

In processes of their own: Triton is no part of an engine for the CPU, and SGLang, which finds it
where it can be imported, is not to find it here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentrt_engine.cache import cache_dir, logs_dir
from agentrt_engine.pip import pip_command, run_pip

ROOT = Path(__file__).parents[2]
TRITON = "triton==3.9.0"


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Variables of a process that can import Triton."""
    folder = cache_dir() / TRITON.replace("==", "-")
    if not folder.exists():
        new = folder.with_suffix(".new")
        command = pip_command("install", "--quiet", "--no-deps", "--target", str(new), TRITON)
        run_pip(command, TRITON, logs_dir() / "triton.log", lambda line: None)
        new.rename(folder)
    return {
        **os.environ,
        "PYTHONPATH": f"{folder}:{ROOT}",
        "OMP_NUM_THREADS": "1",
        "TRITON_DEFAULT_FP_FUSION": "1",  # as it is, without a warning
    }


def test_interpreted(environment: dict[str, str]) -> None:
    checks = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernels/triton_checks.py"]
    done = subprocess.run(
        [sys.executable, *checks],
        cwd=ROOT,
        env={**environment, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]
    assert "12 passed" in done.stdout


def test_compiled_for_hopper(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compile_for_hopper"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5_000:]
    kernels = json.loads(done.stdout)
    assert len(kernels) == 5
    for name, figures in kernels.items():
        assert figures["arch"] == 90, name
        assert figures["spilled_store_bytes"] == figures["spilled_load_bytes"] == 0, name
        assert figures["shared_bytes"] <= 227 * 1024, name
