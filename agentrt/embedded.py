"""The engine behind `connect()` without an address: one that runs already, or one of our own."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import httpx2
from anyio.lowlevel import RunVar

from agentrt_engine.device import Device
from agentrt_engine.sglang.options import DType, engine_options
from agentrt_engine.sglang.ports import free_port
from agentrt_engine.sglang.running import running_engines
from agentrt_engine.sglang.server import EngineProcess, start_engine
from agentrt_engine.wire.authorization import bearer
from agentrt_engine.wire.info import INFO_PATH, decode_info

URL_VARIABLE = "AGENTRT_URL"
API_KEY_VARIABLE = "AGENTRT_API_KEY"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an embedded engine is started with; None leaves a value to the machine.

    Attributes:
        model: name of a fetched model or a Hugging Face folder.
        device: cpu or cuda.
        policy: registered name.
        kv_tokens: capacity of the KV cache, tokens.
        dtype: precision.
    """

    model: str | None = None
    device: Device | None = None
    policy: str | None = None
    kv_tokens: int | None = None
    dtype: DType = DType.AUTO


@dataclass(frozen=True, slots=True)
class EngineHandle:
    """An engine to talk to.

    Attributes:
        url: where it answers.
        api_key: key that requests must bear.
    """

    url: str
    api_key: str | None = None


_owned: dict[EngineSettings, EngineProcess] = {}
_starting: RunVar[anyio.Lock] = RunVar("agentrt_engine_starting")


async def locate_or_start(
    settings: EngineSettings, on_stage: Callable[[str], None] = lambda _stage: None
) -> EngineHandle:
    """An engine on this machine.

    With settings left open a running `agentrt serve` is taken. Otherwise this process starts
    an engine, keeps it for later calls with the same settings, and takes it along when it ends.

    Raises:
        EngineError, ModelError: the engine cannot be started.
    """
    if settings == EngineSettings() and (handle := await _served()) is not None:
        return handle
    async with _start_lock():
        process = _owned.get(settings)
        if process is None or process.exit_code is not None:
            options = engine_options(
                port=free_port(),
                model=settings.model,
                device=settings.device,
                policy=settings.policy,
                kv_tokens=settings.kv_tokens,
                dtype=settings.dtype,
            )
            process = await start_engine(options, on_stage=on_stage)
            _owned[settings] = process
    return EngineHandle(process.url)


def owned_engines() -> list[EngineProcess]:
    """The engines that this process started, running or not."""
    return list(_owned.values())


def _start_lock() -> anyio.Lock:
    """One lock per event loop: of two calls at once the second waits for the first's engine."""
    try:
        return _starting.get()
    except LookupError:
        lock = anyio.Lock()
        _starting.set(lock)
        return lock


async def _served() -> EngineHandle | None:
    """The latest `agentrt serve` that answers and that we hold the key of."""
    key = os.environ.get(API_KEY_VARIABLE)
    async with httpx2.AsyncClient(headers=bearer(key), timeout=5.0) as client:
        for engine in running_engines():
            if engine.needs_key and key is None:
                continue
            try:
                answer = await client.get(engine.url + INFO_PATH)
            except httpx2.TransportError:
                continue
            if decode_info(answer.content) is not None:
                return EngineHandle(engine.url, key if engine.needs_key else None)
    return None


@atexit.register
def _stop_owned() -> None:
    for process in _owned.values():
        process.stop(grace_s=0.0)
