"""Engines for benchmarks: ours with a policy, or stock SGLang with everything else equal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

from agentrt_engine.errors import EngineStartFailed
from agentrt_engine.sglang import log
from agentrt_engine.sglang.flag import (
    API_KEY_VARIABLE,
    FLAG_VARIABLE,
    IDLE_S,
    OWNED_VARIABLE,
)
from agentrt_engine.sglang.options import DType, EngineOptions, engine_options
from agentrt_engine.sglang.ports import free_port
from agentrt_engine.sglang.server import ending

#: How long a start may take, and how long killed processes may take to end, seconds.
START_S = 300.0
END_S = 10.0

#: Arguments of Python that start an engine.
LAUNCH = ("-P", "-m", "agentrt_engine.sglang.launch")


@dataclass(frozen=True, slots=True)
class BenchEngine:
    """A running engine.

    Attributes:
        pid: of its main process, and of its process group.
        log_path: everything it printed.
    """

    url: str
    pid: int
    log_path: Path


@contextmanager
def engine(
    policy: str | None,
    *,
    kv_tokens: int,
    dtype: DType = DType.AUTO,
    max_running: int = 16,
    api_keys: Sequence[str] = (),
    idle_s: float = IDLE_S,
    options: Sequence[str] = (),
    without: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    main: Sequence[str] = LAUNCH,
) -> Iterator[BenchEngine]:
    """An engine that learns nothing over restarts; when the block ends no process is left of it.

    Args:
        policy: None: stock SGLang, with our attention backend.
        kv_tokens: KV memory.
        idle_s: a program that pauses for longer has ended.
        options: further arguments of SGLang; without: flags that are usual and left out.
        environment: further variables.
        main: arguments of Python that start it.

    Raises:
        EngineStartFailed: it ended or was not ready in time.
    """
    chosen = engine_options(
        port=free_port(),
        policy=policy,
        kv_tokens=kv_tokens,
        dtype=dtype,
        max_running=max_running,
        api_keys=api_keys,
        idle_s=idle_s,
    )
    arguments = [*_arguments(chosen, policy is None), *options]
    arguments = [argument for argument in arguments if argument not in without]
    log_path = log.new_log_path()
    with log_path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *main, *arguments],
            env=_environment(chosen, policy is None) | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, chosen.url, log_path)
        yield BenchEngine(chosen.url, process.pid, log_path)
    finally:
        _end(process)


def _arguments(chosen: EngineOptions, stock: bool) -> list[str]:
    arguments = chosen.sglang_arguments()
    if stock:
        at = arguments.index("--radix-cache-backend") + 1
        del arguments[at - 1 : at + 1]
    return arguments


def _environment(chosen: EngineOptions, stock: bool) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name != FLAG_VARIABLE}
    variables |= {OWNED_VARIABLE: "1", "HF_HUB_OFFLINE": "1"}
    # As `agentrt serve` does: one core is left to tokenizer and HTTP server.
    variables.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) - 1)))
    if not stock:
        variables |= chosen.flag("benchmark").environment()
    if chosen.api_keys:
        variables[API_KEY_VARIABLE] = "\n".join(chosen.api_keys)
    return variables


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
    deadline = time.monotonic() + START_S
    while not healthy(url):
        if process.poll() is not None:
            words = log.last_words(log_path.read_text(errors="replace"))
            raise EngineStartFailed(
                f"the engine ended at its start ({ending(process.returncode)}):\n{words}",
                hint=f"its whole log: {log_path}",
            )
        if time.monotonic() > deadline:
            raise EngineStartFailed(
                f"the engine was not ready within {START_S:.0f} s", hint=f"its log: {log_path}"
            )
        time.sleep(0.3)


def healthy(url: str) -> bool:
    """Whether an engine answers."""
    try:
        return httpx2.get(f"{url}/health", timeout=10).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def group_members(group: int) -> dict[int, str]:
    """Processes of a group that are not zombies: process id → name."""
    members = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            head, _, tail = stat.read_text().rpartition(")")
            state, _parent, its_group = tail.split()[:3]
            if int(its_group) == group and state not in "ZX":
                members[int(stat.parent.name)] = head.partition("(")[2]
    return members


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # The scheduler is not our child: it may still be giving its memory back.
    deadline = time.monotonic() + END_S
    while group_members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.stdin is not None:
        process.stdin.close()
