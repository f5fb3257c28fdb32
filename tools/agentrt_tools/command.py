"""Runs one command of an agent, with its output in bounded memory and nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process

from agentrt_tools.limits import Limits, usage_of
from agentrt_tools.output_buffer import OutputBuffer
from agentrt_tools.sandbox import NOTHING_ALLOWED, Allowed, Sandbox

#: Bytes of output after which a command is stopped: nobody will read them.
MAX_OUTPUT_BYTES = 8 * 2**20

_CHUNK_BYTES = 64 * 1024

#: Seconds for output that is on its way when the command has ended.
_LAST_OUTPUT_S = 1.0

#: Seconds for a killed command to end.
_END_S = 5.0

#: Seconds between two looks at what a command uses.
LOOK_S = 0.05

DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A command that ended.

    Attributes:
        output: stdout and stderr as they came, cut in the middle to the limit.
        exit_code: of the command; negative: the number of the signal that ended it.
        stopped: why it was ended before it did so itself, for the model to read; else empty.
        timed_out: it was for the time it took.
    """

    output: str
    exit_code: int
    stopped: str = ""
    timed_out: bool = False

    def text(self) -> str:
        """The output, and a line on how it ended if that was not well."""
        notes = [self.output.rstrip("\n")] if self.output else []
        if self.stopped:
            notes.append(f"[stopped: {self.stopped}]")
        elif self.exit_code != 0:
            notes.append(f"[exit code {self.exit_code}]")
        return "\n".join(notes)


async def run_command(
    argv: Sequence[str],
    *,
    sandbox: Sandbox,
    workspace: Path,
    output_limit: int,
    limits: Limits = DEFAULT_LIMITS,
    allowed: Allowed = NOTHING_ALLOWED,
    timeout: float | None = None,
) -> CommandResult:
    """Run a command in the workspace and wait for it.

    When it ends, is cancelled or uses too much, whatever it started is ended too.

    Args:
        argv: program and arguments.
        sandbox: what confines it.
        workspace: its working directory.
        output_limit: bytes of output that are kept.
        limits: what it may use.
        allowed: what it may reach beyond the workspace.
        timeout: seconds until it is ended and what it has written so far returned.
    """
    buffer = OutputBuffer(output_limit)
    watch = _Watch(sandbox, limits, timeout)
    read_end, write_end = os.pipe()
    try:
        try:
            process = await anyio.open_process(
                sandbox.command(argv, workspace, allowed),
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=subprocess.STDOUT,
                cwd=workspace,
                env=sandbox.environment(workspace),
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        async with process:
            try:
                exit_code = await _attend(process, sandbox, read_end, buffer, watch)
            finally:
                if process.returncode is None:
                    sandbox.kill(process.pid)
                    with anyio.move_on_after(_END_S, shield=True):
                        await process.wait()
    finally:
        os.close(read_end)
    return CommandResult(buffer.text(), exit_code, watch.stopped, watch.timed_out)


class _Watch:
    """Ends a command that uses too much.

    Attributes:
        stopped: why it was ended; empty if it was not.
        timed_out: it was for the time it took.
    """

    def __init__(self, sandbox: Sandbox, limits: Limits, timeout: float | None) -> None:
        self.stopped = ""
        self.timed_out = False
        self._timeout = timeout
        self._sandbox = sandbox
        self._limits = limits

    def stop(self, process: Process, why: str) -> None:
        """End it."""
        self.stopped = self.stopped or why
        self._sandbox.kill(process.pid)

    async def usage(self, process: Process) -> None:
        """Look at what it uses, until it is ended."""
        most = self._limits.processes
        enough = None if most is None else most + 1
        began = anyio.current_time()
        while not self.stopped:
            await anyio.sleep(LOOK_S)
            if why := self._limits.exceeded(usage_of(process.pid, enough)):
                self.stop(process, why)
            elif self._timeout is not None and anyio.current_time() - began > self._timeout:
                self.timed_out = True
                self.stop(process, f"it took longer than {self._timeout:g} s")


async def _attend(
    process: Process, sandbox: Sandbox, read_end: int, buffer: OutputBuffer, watch: _Watch
) -> int:
    async with anyio.create_task_group() as watching:
        watching.start_soon(watch.usage, process)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_collect, process, read_end, buffer, watch)
            exit_code = await process.wait()
            sandbox.end_background(process.pid)
            # A process that left the group may hold the pipe open: do not wait for it.
            tasks.cancel_scope.deadline = anyio.current_time() + _LAST_OUTPUT_S
        watching.cancel_scope.cancel()
    return exit_code


async def _collect(process: Process, read_end: int, buffer: OutputBuffer, watch: _Watch) -> None:
    os.set_blocking(read_end, False)
    while buffer.total <= MAX_OUTPUT_BYTES:
        await anyio.wait_readable(read_end)
        with suppress(BlockingIOError):
            chunk = os.read(read_end, _CHUNK_BYTES)
            if not chunk:
                return
            buffer.add(chunk)
    watch.stop(process, f"it wrote more than {MAX_OUTPUT_BYTES:,} bytes")
