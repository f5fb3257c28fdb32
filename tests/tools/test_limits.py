"""What commands may use: processor time, memory, processes, and the network."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import anyio
import pytest

from agentrt_tools import limits
from agentrt_tools.command import CommandResult, run_command
from agentrt_tools.limits import Limits, usage_of
from agentrt_tools.sandbox import NOTHING_ALLOWED, Allowed, Bubblewrap, Sandbox
from tests.tools.test_command import find_processes, wait_until_gone


def run(
    script: str,
    sandbox: Sandbox,
    workspace: Path,
    limits: Limits,
    allowed: Allowed = NOTHING_ALLOWED,
) -> CommandResult:
    async def main() -> CommandResult:
        with anyio.fail_after(30):
            return await run_command(
                ["bash", "-c", script],
                sandbox=sandbox,
                workspace=workspace,
                output_limit=2_000,
                limits=limits,
                allowed=allowed,
            )

    return anyio.run(main)


def test_processor_time_is_limited(sandbox: Sandbox, workspace: Path) -> None:
    began = time.monotonic()
    result = run("while :; do :; done", sandbox, workspace, Limits(cpu_s=0.5))
    assert result.stopped == "it used more than 0.5 s of CPU"
    assert time.monotonic() - began < 15
    assert result.text().endswith("[stopped: it used more than 0.5 s of CPU]")


def test_processor_time_of_processes_that_ended_counts(sandbox: Sandbox, workspace: Path) -> None:
    script = "while :; do (for i in {1..20000}; do :; done); done"
    result = run(script, sandbox, workspace, Limits(cpu_s=1.0))
    assert "of CPU" in result.stopped


def test_memory_is_limited(sandbox: Sandbox, workspace: Path) -> None:
    # bash holds what it reads.
    script = "x=$(head -c 400000000 /dev/zero | tr '\\0' x); echo ${#x}"
    result = run(script, sandbox, workspace, Limits(memory_mb=100))
    assert result.stopped == "it used more than 100 MiB of memory"
    assert "400000000" not in result.output


def test_processes_are_limited(bubblewrap: Bubblewrap, workspace: Path) -> None:
    began = time.monotonic()
    script = "for i in {1..500}; do sleep 71 & done; wait"
    result = run(script, bubblewrap, workspace, Limits(processes=40))
    assert result.stopped == "it ran more than 40 processes at once"
    assert time.monotonic() - began < 15
    wait_until_gone("sleep\0" + "71")


def test_what_stays_below_the_limits_is_not_stopped(sandbox: Sandbox, workspace: Path) -> None:
    script = "for i in {1..20}; do sleep 0.3 & done; wait; echo done"
    result = run(script, sandbox, workspace, Limits(cpu_s=10, memory_mb=500, processes=60))
    assert (result.output, result.stopped, result.exit_code) == ("done\n", "", 0)


def test_no_limits_at_all(sandbox: Sandbox, workspace: Path) -> None:
    unlimited = Limits(cpu_s=None, memory_mb=None, processes=None)
    assert run("echo done", sandbox, workspace, unlimited).output == "done\n"


@pytest.mark.parametrize("field", ["cpu_s", "memory_mb", "processes"])
def test_a_limit_is_above_zero(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field}=0: expected a number above 0"):
        Limits(**{field: 0})


def test_usage_is_that_of_the_whole_tree() -> None:
    async def main() -> tuple[int, int, float]:
        script = "for i in 1 2 3; do (sleep 72; :) & done; wait"
        async with await anyio.open_process(["bash", "-c", script]) as process:
            while len(find_processes("sleep\x0072")) < 3:  # noqa: ASYNC110 - of the system
                await anyio.sleep(0.01)
            usage = usage_of(process.pid)
            for pid in find_processes("sleep\x0072"):
                os.kill(pid, signal.SIGKILL)
        return usage.processes, usage.memory_bytes, usage.cpu_s

    processes, memory, cpu_s = anyio.run(main)
    assert processes == 7  # bash, three of its subshells, three times sleep
    assert 2**20 < memory < 2**28
    assert 0 <= cpu_s < 5
    # One that is gone uses nothing.
    assert usage_of(2**22 - 1).processes == 0


def test_processes_that_end_meanwhile_do_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone, alive = [2**22 - 1] * 5, [os.getpid()] * 5
    monkeypatch.setattr(limits, "_tree", lambda pid: iter(gone + alive))
    assert usage_of(os.getpid(), 3).processes == 3


def test_the_network_is_there_only_when_asked_for(bubblewrap: Bubblewrap, workspace: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port} && head -n 1 <&3"

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"hello\n")

        thread = threading.Thread(target=greet)
        thread.start()
        refused = run(script, bubblewrap, workspace, Limits())
        assert refused.exit_code != 0 and "hello" not in refused.output
        reached = run(script, bubblewrap, workspace, Limits(), Allowed(network=True))
        thread.join(10)
        assert reached.output == "hello\n"


def test_a_folder_that_lies_hidden_can_be_made_readable(
    bubblewrap: Bubblewrap, workspace: Path, tmp_path: Path
) -> None:
    hidden = tmp_path / "shared"
    hidden.mkdir()
    (hidden / "note").write_text("seen")
    script = f"cat {hidden}/note; echo no > {hidden}/note"
    assert "seen" not in run(script, bubblewrap, workspace, Limits()).output
    shown = run(script, bubblewrap, workspace, Limits(), Allowed(readable=(hidden,)))
    assert shown.output.startswith("seen")
    assert (hidden / "note").read_text() == "seen"
