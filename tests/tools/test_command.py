"""Commands of agents: output, limits, confinement, and that nothing survives them."""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from agentrt_tools.command import MAX_OUTPUT_BYTES, CommandResult, run_command
from agentrt_tools.sandbox import Bubblewrap, Sandbox, find_sandbox


def run(
    script: str, sandbox: Sandbox, workspace: Path, *, limit: int = 2_000, timeout: float = 20
) -> CommandResult:
    async def main() -> CommandResult:
        with anyio.fail_after(timeout):
            return await run_command(
                ["bash", "-c", script], sandbox=sandbox, workspace=workspace, output_limit=limit
            )

    return anyio.run(main)


def find_processes(marker: str, *, is_start: bool = False) -> list[int]:
    """Processes with the marker on their command line, or with one that starts with it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            command = entry.read_text(errors="replace")
            if command.startswith(marker) if is_start else marker in command:
                found.append(int(entry.parent.name))
    return found


def wait_until_gone(marker: str) -> None:
    deadline = time.monotonic() + 5
    while find_processes(marker):
        assert time.monotonic() < deadline, "a process survived its command"
        time.sleep(0.01)


@pytest.fixture
def marker(workspace: Path) -> str:
    """A number of seconds that no other process sleeps for."""
    return f"{3_000 + os.getpid()}.{abs(hash(str(workspace))) % 10**9}"


def test_output_and_errors_come_in_order_with_the_exit_code(
    sandbox: Sandbox, workspace: Path
) -> None:
    result = run("echo one; echo two >&2; echo three; exit 3", sandbox, workspace)
    assert result == CommandResult("one\ntwo\nthree\n", 3)


def test_a_command_works_in_the_workspace(sandbox: Sandbox, workspace: Path) -> None:
    (workspace / "seen").write_text("yes")
    result = run("cat seen; pwd; echo made > made; read -r line; echo end", sandbox, workspace)
    assert result.output == f"yes{workspace}\nend\n"
    assert (workspace / "made").read_text() == "made\n"


def test_the_environment_holds_nothing_of_ours(
    sandbox: Sandbox, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTRT_API_KEY", "s3cret")
    names = {line.partition("=")[0] for line in run("env", sandbox, workspace).output.splitlines()}
    assert {"PATH", "HOME", "LANG"} <= names
    assert names <= {
        *("PATH", "HOME", "LANG", "TERM", "PAGER", "GIT_PAGER"),
        *("PWD", "SHLVL", "_", "OLDPWD"),
    }


def test_long_output_keeps_its_beginning_and_its_end(sandbox: Sandbox, workspace: Path) -> None:
    result = run("seq 100000", sandbox, workspace, limit=100)
    assert result.exit_code == 0
    assert result.output.startswith("1\n2\n3\n")
    assert result.output.endswith("\n99999\n100000\n")
    assert "[cut: 588,795 of 588,895 bytes left out]" in result.output


def test_a_hundred_megabytes_are_cut_soon_and_in_bounded_memory(
    sandbox: Sandbox, workspace: Path
) -> None:
    run("true", sandbox, workspace)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    result = run("head -c 100000000 /dev/zero | tr '\\0' x; echo end", sandbox, workspace)
    assert time.monotonic() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024  # KiB
    assert result.stopped
    assert len(result.output) < 2_200
    assert "end" not in result.output


def test_endless_output_is_stopped(sandbox: Sandbox, workspace: Path, marker: str) -> None:
    assert run(f"yes {marker}", sandbox, workspace).stopped
    wait_until_gone(marker)


def test_output_just_below_the_stop_is_read_to_its_end(sandbox: Sandbox, workspace: Path) -> None:
    result = run(f"head -c {MAX_OUTPUT_BYTES - 3} /dev/zero; echo ok", sandbox, workspace)
    assert (result.stopped, result.exit_code) == ("", 0)
    assert result.output.endswith("ok\n")


def test_a_timeout_leaves_no_process(sandbox: Sandbox, workspace: Path, marker: str) -> None:
    script = f"(sleep {marker} & wait) & sleep {marker}"

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(20) as scope:
                tasks.start_soon(stop_when_started, scope)
                await run_command(
                    ["bash", "-c", script], sandbox=sandbox, workspace=workspace, output_limit=100
                )
        assert scope.cancelled_caught

    async def stop_when_started(scope: anyio.CancelScope) -> None:
        while len(find_processes(f"sleep\0{marker}")) < 2:  # noqa: ASYNC110 - of the system
            await anyio.sleep(0.01)
        scope.cancel()

    anyio.run(main)
    wait_until_gone(marker)


def test_what_a_command_leaves_in_the_background_ends_with_it(
    sandbox: Sandbox, workspace: Path, marker: str
) -> None:
    started = time.monotonic()
    result = run(f"sleep {marker} & echo done", sandbox, workspace)
    assert result.output == "done\n"
    assert time.monotonic() - started < 5
    wait_until_gone(marker)


def test_cancellation_at_any_moment_of_a_start_leaves_no_process(
    sandbox: Sandbox, workspace: Path, marker: str
) -> None:
    async def main() -> None:
        for milliseconds in range(0, 20, 2):
            with anyio.move_on_after(milliseconds / 1000):
                await run_command(
                    ["sleep", marker], sandbox=sandbox, workspace=workspace, output_limit=100
                )

    anyio.run(main)
    wait_until_gone(marker)


def test_no_file_descriptor_is_left_open(sandbox: Sandbox, workspace: Path) -> None:
    run("true", sandbox, workspace)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        run("echo x", sandbox, workspace)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# What only a real sandbox gives.


def test_nothing_outside_the_workspace_can_be_written(
    bubblewrap: Bubblewrap, workspace: Path, tmp_path: Path
) -> None:
    for target in (Path("/usr/outside"), Path("/etc/outside")):
        assert run(f"echo x > {target}", bubblewrap, workspace).exit_code != 0
        assert not target.exists()
    run(f"echo x > {tmp_path / 'outside'}", bubblewrap, workspace)  # into a /tmp of its own
    assert not (tmp_path / "outside").exists()
    assert run("mount -o remount,rw /", bubblewrap, workspace).exit_code != 0


def test_private_directories_are_empty(
    bubblewrap: Bubblewrap, workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("s3cret")
    result = run(f"cat {tmp_path / 'secret'}; ls -A /home /root /run", bubblewrap, workspace)
    assert "s3cret" not in result.output
    assert result.output.endswith("/home:\n\n/root:\n\n/run:\n")


def test_there_is_no_network(bubblewrap: Bubblewrap, workspace: Path) -> None:
    result = run("tail -n +3 /proc/net/dev | cut -d: -f1", bubblewrap, workspace)
    assert result.output.split() == ["lo"]
    assert run("echo > /dev/tcp/127.0.0.1/22", bubblewrap, workspace).exit_code != 0


def test_processes_outside_are_invisible(bubblewrap: Bubblewrap, workspace: Path) -> None:
    result = run("ls -d /proc/[0-9]* | wc -l", bubblewrap, workspace)
    assert int(result.output) < 10


def test_the_sandbox_dies_with_its_parent(
    bubblewrap: Bubblewrap, workspace: Path, marker: str
) -> None:
    parent = os.fork()
    if parent == 0:
        argv = bubblewrap.command(["sleep", marker], workspace)
        os.spawnve(os.P_NOWAIT, argv[0], argv, bubblewrap.environment(workspace))
        time.sleep(60)
        os._exit(0)
    deadline = time.monotonic() + 10
    while not find_processes(f"sleep\0{marker}", is_start=True):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(parent, 9)
    os.waitpid(parent, 0)
    wait_until_gone(marker)


# The choice of a sandbox.


def test_without_bubblewrap_there_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    find_sandbox(search_path=str(tmp_path))
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().endswith("bubblewrap is not installed")


def test_a_bubblewrap_that_may_not_make_namespaces_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forbidden = tmp_path / "bwrap"
    forbidden.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    forbidden.chmod(0o755)
    find_sandbox(search_path=str(tmp_path))
    [record] = caplog.records
    assert record.getMessage().endswith("bubblewrap may not make namespaces here")


def test_a_working_bubblewrap_is_used_without_a_warning(
    bubblewrap: Bubblewrap, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(find_sandbox(), Bubblewrap)
    assert caplog.records == []
