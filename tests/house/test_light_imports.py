"""What must work without torch and SGLang loads neither."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCKER = """
import sys
from importlib.abc import MetaPathFinder

HEAVY = {"torch", "sglang", "transformers", "triton"}

class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ImportError(f"{name} must not be imported here")

sys.meta_path.insert(0, Blocker())
"""

LIGHT = [
    "import agentrt",
    "import agentrt.connect",
    "import agentrt.embedded",
    "import agentrt_tools",
    "import agentrt_engine.policy",
    "import agentrt_engine.simulated.run",
    "import agentrt.replay.trace_file",
    "import agentrt_engine.wire",
    "import agentrt_engine.models.fetch",
    "import agentrt_engine.sglang.server",
    "from agentrt.cli.main import run; assert run(['--help']) == 0",
    "from agentrt.cli.main import run; assert run(['doctor']) in (0, 1)",
    "from agentrt.cli.main import run; assert run(['models', 'list']) == 0",
]


@pytest.mark.parametrize("statement", LIGHT)
def test_runs_without_an_engine(statement: str) -> None:
    done = _run(statement)
    assert done.returncode == 0, done.stderr


def test_the_blocker_blocks() -> None:
    done = _run("import torch")
    assert "torch must not be imported here" in done.stderr


def _run(statement: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", BLOCKER + statement]
    return subprocess.run(command, capture_output=True, text=True)
