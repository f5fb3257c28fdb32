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

from agentrt_tools.output_buffer import OutputBuffer
from agentrt_tools.sandbox import Sandbox

#: Bytes of output after which a command is stopped: nobody will read them.
MAX_OUTPUT_BYTES = 8 * 2**20

_CHUNK_BYTES = 64 * 1024

#: Seconds for output that is on its way when the command has ended.
_LAST_OUTPUT_S = 1.0

#: Seconds for a killed command to end.
_END_S = 5.0


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A command that ended.

    Attributes:
        output: stdout and stderr as they came, cut in the middle to the limit.
        exit_code: of the command; negative: the number of the signal that ended it.
        stopped: it was ended because it wrote more than `MAX_OUTPUT_BYTES`.
    """

    output: str
    exit_code: int
    stopped: bool


async def run_command(
    argv: Sequence[str], *, sandbox: Sandbox, workspace: Path, output_limit: int
) -> CommandResult:
    """Run a command in the workspace and wait for it.

    When it ends, is cancelled or writes too much, whatever it started is ended too.

    Args:
        argv: program and arguments.
        sandbox: what confines it.
        workspace: its working directory.
        output_limit: bytes of output that are kept.
    """
    buffer = OutputBuffer(output_limit)
    read_end, write_end = os.pipe()
    try:
        try:
            process = await anyio.open_process(
                sandbox.command(argv, workspace),
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
                exit_code = await _attend(process, sandbox, read_end, buffer)
            finally:
                if process.returncode is None:
                    sandbox.kill(process.pid)
                    with anyio.move_on_after(_END_S, shield=True):
                        await process.wait()
    finally:
        os.close(read_end)
    return CommandResult(buffer.text(), exit_code, stopped=buffer.total > MAX_OUTPUT_BYTES)


async def _attend(process: Process, sandbox: Sandbox, read_end: int, buffer: OutputBuffer) -> int:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_collect, process, sandbox, read_end, buffer)
        exit_code = await process.wait()
        sandbox.end_background(process.pid)
        # A process that left the group may hold the pipe open: do not wait for it.
        tasks.cancel_scope.deadline = anyio.current_time() + _LAST_OUTPUT_S
    return exit_code


async def _collect(process: Process, sandbox: Sandbox, read_end: int, buffer: OutputBuffer) -> None:
    os.set_blocking(read_end, False)
    while buffer.total <= MAX_OUTPUT_BYTES:
        await anyio.wait_readable(read_end)
        with suppress(BlockingIOError):
            chunk = os.read(read_end, _CHUNK_BYTES)
            if not chunk:
                return
            buffer.add(chunk)
    sandbox.kill(process.pid)
