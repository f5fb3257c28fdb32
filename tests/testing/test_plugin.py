"""The pytest plug-in, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

AGENT = """
import socket

import pytest

from agentrt import Context, agent
from agentrt.testing import ScriptedModel, run_agent, says


@agent
async def echo(ctx: Context, word: str) -> str:
    \"\"\"You repeat.\"\"\"
    return await ctx.loop(word)


def connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


"""


def pytest_of(folder: Path, code: str, *, ini: str = "") -> str:
    """What pytest says of a test file."""
    (folder / "test_it.py").write_text(AGENT + code)
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_scripted_model_as_a_fixture(tmp_path: Path) -> None:
    said = pytest_of(
        tmp_path,
        """
def test_it(scripted_model: ScriptedModel) -> None:
    scripted_model.will(says("hello"))
    assert run_agent(scripted_model, echo, "hi").output == "hello"


def test_steps_left(scripted_model: ScriptedModel) -> None:
    scripted_model.will(says("hello"))


def test_a_failure_of_its_own(scripted_model: ScriptedModel) -> None:
    scripted_model.will(says("unused"))
    assert 1 == 2
""",
    )
    assert "2 failed, 1 passed" in said
    assert "1 steps were not used" in said
    assert "unused" not in said.partition("short test summary")[2]


def test_the_network_is_blocked_where_its_fixtures_are_used(tmp_path: Path) -> None:
    said = pytest_of(
        tmp_path,
        """
def test_untouched() -> None:
    connects()


def test_blocked(scripted_model: ScriptedModel) -> None:
    connects()


@pytest.mark.network
def test_allowed(scripted_model: ScriptedModel) -> None:
    connects()


@pytest.mark.network(loopback=True)
def test_loopback(no_network: None) -> None:
    connects()
""",
    )
    assert "1 failed, 3 passed" in said
    assert "NetworkBlocked: the network is blocked" in said


def test_it_can_be_blocked_everywhere(tmp_path: Path) -> None:
    said = pytest_of(
        tmp_path,
        """
def test_blocked() -> None:
    connects()


class TestOfAClass:
    def test_blocked(self) -> None:
        connects()


@pytest.mark.network(loopback=True)
def test_allowed() -> None:
    connects()
""",
        ini="agentrt_block_network = true",
    )
    assert "2 failed, 1 passed" in said


def test_a_run_that_uses_nothing_of_it_does_not_import_agentrt(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n\n\ndef test_it(request):\n"
        "    assert request.fixturenames == ['request']\n"
        "    assert request.config.pluginmanager.has_plugin('agentrt')\n"
        "    assert 'agentrt' not in sys.modules\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_importing_it_needs_neither_pytest_nor_more_than_the_sdk(tmp_path: Path) -> None:
    script = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pytest", "torch", "sglang", "starlette", "uvicorn"):
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Blocker())
import agentrt
assert "agentrt.testing" not in sys.modules
import agentrt.testing
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("module", ["agentrt.testing"])
def test_every_export_exists_and_is_documented(module: str) -> None:
    exported = __import__(module, fromlist=["__all__"])
    assert exported.__all__ == sorted(exported.__all__)
    for name in exported.__all__:
        assert getattr(exported, name).__doc__, name
