"""Starts, watches and stops the engine process.

The engine runs in a process group of its own, so Ctrl-C in a terminal reaches its owner and
not the engine, and one signal ends all of it. Its standard input is a pipe from the owner:
when the owner ends, however it ends, the pipe closes and the engine kills its group
(`launch`). This module imports neither torch nor SGLang.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import anyio
import httpx2

from agentrt_engine.errors import EngineStartFailed, PluginInactive, PortInUse
from agentrt_engine.installed import require_engine
from agentrt_engine.models.integrity import check_model
from agentrt_engine.policy import make_live_policy
from agentrt_engine.sglang import log
from agentrt_engine.sglang.flag import (
    API_KEY_VARIABLE,
    OWNED_VARIABLE,
    PLUGIN_INACTIVE_EXIT,
    EngineFlag,
)
from agentrt_engine.sglang.options import EngineOptions
from agentrt_engine.sglang.ports import lost_port, require_free_port
from agentrt_engine.wire.authorization import bearer
from agentrt_engine.wire.info import INFO_PATH, EngineInfo, decode_info

_POLL_S = 0.2
_STOP_GRACE_S = 5.0

#: How long killed processes may take to give their memory back.
_END_S = 5.0


class EngineProcess:
    """A running engine that this process owns.

    Attributes:
        url: where it answers.
        info: what it says of itself.
        log_path: everything it printed.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, log_path: Path, info: EngineInfo
    ) -> None:
        self._process = process
        self.url = url
        self.log_path = log_path
        self.info = info

    @property
    def pid(self) -> int:
        """Process id of the engine's main process, and id of its process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while the engine runs; negative: the signal that ended it."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """The exit code when the engine ends within that time, else None."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.exit_code

    def last_words(self) -> str:
        """The end of the log, for the message that says the engine is gone."""
        return log.last_words(_read(self.log_path))

    def stop(self, grace_s: float = _STOP_GRACE_S) -> None:
        """End the engine: let running requests finish for `grace_s` seconds, then kill.

        Safe to call twice; when it returns no process of the engine is left.
        """
        _stop(self._process, grace_s)


async def start_engine(
    options: EngineOptions,
    *,
    on_stage: Callable[[str], None] = lambda _stage: None,
    timeout_s: float = 300.0,
) -> EngineProcess:
    """Start an engine and wait until it answers.

    Args:
        options: what to start.
        on_stage: called with a few words whenever the start enters another stage.
        timeout_s: how long the start may take.

    Raises:
        UnknownPolicy, ModelCorrupt, EngineNotInstalled, EngineMismatch: found before anything
            is started.
        PortInUse: found then, or when the engine gets there.
        PluginInactive: SGLang started without the plug-in.
        EngineStartFailed: the engine ended or was not ready in time; the message quotes its log.
    """
    make_live_policy(options.policy)
    require_engine(options.device)
    check_model(options.model)
    require_free_port(options.host, options.port)

    flag = options.flag(secrets.token_hex(8))
    log_path = log.new_log_path()
    with log_path.open("wb") as output:
        process = _spawn(options, flag, output)
    try:
        info = await _wait_until_ready(process, options, flag, log_path, on_stage, timeout_s)
    except BaseException:
        _stop(process, grace_s=0.0)
        raise
    return EngineProcess(process, options.url, log_path, info)


def ending(code: int) -> str:
    """An exit code of a child, in words."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _spawn(options: EngineOptions, flag: EngineFlag, output: BinaryIO) -> subprocess.Popen[bytes]:
    environment = os.environ | flag.environment() | {OWNED_VARIABLE: "1", "HF_HUB_OFFLINE": "1"}
    # One core stays free for tokenizer and HTTP server: two processes that compute at once
    # slow each other by more than half.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) - 1)))
    if options.api_keys:  # not an argument: those show in the process list
        environment[API_KEY_VARIABLE] = "\n".join(options.api_keys)
    command = [sys.executable, "-P", "-m", "agentrt_engine.sglang.launch"]
    return subprocess.Popen(
        [*command, *options.sglang_arguments()],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


async def _wait_until_ready(
    process: subprocess.Popen[bytes],
    options: EngineOptions,
    flag: EngineFlag,
    log_path: Path,
    on_stage: Callable[[str], None],
    timeout_s: float,
) -> EngineInfo:
    deadline = time.monotonic() + timeout_s
    shown = ""
    headers = bearer(options.api_key)
    async with httpx2.AsyncClient(base_url=options.url, headers=headers, timeout=10.0) as client:
        while True:
            text = _read(log_path)
            if process.poll() is not None:
                raise _start_failure(process.returncode, text, log_path)
            if log.lost_port(text):  # SGLang would try for minutes to reach itself
                raise lost_port(options.host, options.port)
            if time.monotonic() > deadline:
                raise EngineStartFailed(
                    f"the engine was not ready within {timeout_s:.0f} s, at stage "
                    f"{log.stage(text)!r}",
                    hint=f"its log: {log_path}",
                )
            if (stage := log.stage(text)) != shown:
                shown = stage
                on_stage(stage)
            if await _healthy(client):
                return await _own_info(client, flag, log_path)
            await anyio.sleep(_POLL_S)


async def _healthy(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/health")).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


async def _own_info(client: httpx2.AsyncClient, flag: EngineFlag, log_path: Path) -> EngineInfo:
    info = decode_info((await client.get(INFO_PATH)).content)
    if info is None:
        raise _plugin_inactive(log_path)
    if info.instance != flag.instance:
        raise PortInUse(
            f"another engine answers at {client.base_url}", hint="choose another with --port"
        )
    return info


def _start_failure(code: int, text: str, log_path: Path) -> Exception:
    if code == PLUGIN_INACTIVE_EXIT:
        return _plugin_inactive(log_path)
    return EngineStartFailed(
        f"the engine ended while {log.stage(text)} ({ending(code)}):\n{log.last_words(text)}",
        hint=f"its whole log: {log_path}",
    )


def _plugin_inactive(log_path: Path) -> PluginInactive:
    return PluginInactive(
        "SGLang started without the agentrt plug-in, so no policy would be in force",
        hint=f"unset SGLANG_PLUGINS, reinstall agentrt, or look into {log_path}",
    )


def _read(path: Path) -> str:
    return path.read_text(errors="replace")


def _stop(process: subprocess.Popen[bytes], grace_s: float) -> None:
    if process.poll() is None and grace_s > 0:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # The scheduler is not our child: it may still be giving its memory back.
    deadline = time.monotonic() + _END_S
    while _is_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.stdin is not None:
        process.stdin.close()


def _is_alive(group: int) -> bool:
    """Whether a process group has a process that is not a zombie."""
    for process in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            state, _parent, its_group = process.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False
