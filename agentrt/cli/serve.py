"""`agentrt serve`: an engine in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import anyio
import anyio.to_thread
from cyclopts import Parameter

from agentrt.cli import console
from agentrt.cli.interruption import cancelled_by_signals
from agentrt.cli.options import DeviceChoice, JsonTarget, PolicyName
from agentrt.embedded import API_KEY_VARIABLE
from agentrt.errors import EngineLost
from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.policy import DEFAULT_POLICY
from agentrt_engine.sglang.flag import IDLE_S, LEASE_SHARE
from agentrt_engine.sglang.options import LOOPBACK, DType, EngineOptions, engine_options
from agentrt_engine.sglang.ports import free_port
from agentrt_engine.sglang.running import RunningEngine, announced
from agentrt_engine.sglang.server import EngineProcess, ending, start_engine

DEFAULT_PORT = 30_000

#: How long running requests may take to finish after a signal.
_GRACE_S = 15.0
_WATCH_S = 0.2


def serve(
    model: str | None = None,
    *,
    device: DeviceChoice = DeviceChoice.AUTO,
    kv_tokens: int | None = None,
    max_running: int | None = None,
    port: int = DEFAULT_PORT,
    host: str = LOOPBACK,
    policy: PolicyName = DEFAULT_POLICY,
    dtype: DType = DType.AUTO,
    api_key: Annotated[
        list[str] | None, Parameter(env_var=API_KEY_VARIABLE, negative_iterable=())
    ] = None,
    profile: str | None = None,
    learned: Path | None = None,
    learn: bool = True,
    lease_share: float = LEASE_SHARE,
    idle_timeout: float = IDLE_S,
    lora: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    lora_rank: int | None = None,
    lora_sharing: LoraSharing = LoraSharing.OFF,
    json: JsonTarget = None,
) -> int:
    """Start SGLang with the agentrt plug-in and serve until Ctrl-C.

    It speaks the OpenAI API under /v1 and says what it is at /agentrt/info. `agentrt run` and
    connect() on this machine find it by themselves. Its output goes to a log file; the first
    Ctrl-C lets running requests finish for up to 15 s, the second does not.

    Examples:

        agentrt serve
        agentrt serve ~/models/Qwen3-8B --policy lru --port 8000
        agentrt serve --host 0.0.0.0 --api-key "$KEY"
        agentrt serve --lora planner=adapters/planner --lora coder=adapters/coder

    Parameters
    ----------
    model
        Name of a fetched model or path of a Hugging Face folder; the default model when absent.
    device
        What the engine computes on; auto takes the GPU when there is one.
    kv_tokens
        Capacity of the KV cache in tokens; by default 32,768 on a CPU, what fits on a GPU.
    max_running
        Requests that run at once; by default 16 on a CPU, SGLang's choice on a GPU.
    port
        Where to listen; 0 takes a free one.
    host
        Address to listen on; anything but loopback needs --api-key.
    dtype
        Precision; auto is the model's own.
    api_key
        Key that every request must bear; several share the engine, each with its own programs and
        an equal share of the leases. Better given by variable: flags show in the process list.
    profile
        Cost profile to begin with, by name or file (agentrt calibrate makes one). The engine
        measures its own steps and goes on from there.
    learned
        File that keeps what the policy learns over restarts; by default one per model and policy
        in the cache folder.
    learn
        Whether there is such a file.
    lease_share
        Share of the KV memory that leases of paused programs may hold.
    idle_timeout
        A program that pauses for longer has ended, seconds.
    lora
        A LoRA adapter as NAME=PATH, in PEFT's format; requests name the model MODEL:NAME.
    lora_rank
        Highest rank of an adapter that may be loaded later; by default that of the given ones.
    lora_sharing
        What KV requests with different adapters share if they ask for it: alora is exact and for
        activated adapters; base and base-lr are approximate across adapters, see docs/lora.md.
    """
    options = engine_options(
        model=model,
        device=device.resolve(),
        kv_tokens=kv_tokens,
        max_running=max_running,
        port=port or free_port(),
        host=host,
        policy=policy,
        dtype=dtype,
        api_keys=api_key or (),
        profile=profile,
        learned=learned,
        learn=learn,
        lease_share=lease_share,
        idle_s=idle_timeout,
        lora=lora or (),
        lora_rank=lora_rank,
        lora_sharing=lora_sharing,
    )
    return anyio.run(_serve, options, json)


async def _serve(options: EngineOptions, json: JsonTarget) -> int:
    served = False
    async with cancelled_by_signals() as interruption:
        with console.Stages() as stages:
            process = await start_engine(options, on_stage=stages.stage)
        try:
            with announced(RunningEngine.of(options)):
                _say_ready(process, json)
                served = True
                await _watch(process)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(process.stop, _GRACE_S)
    # Asked to stop while it served: that is how a server ends well.
    return 0 if served else interruption.exit_code


def _say_ready(process: EngineProcess, json: JsonTarget) -> None:
    info = process.info
    console.write_json(json, {"url": process.url, "pid": process.pid, **info.to_builtins()})
    console.results(json).print(
        f"{info.model} on {info.device} at {process.url}, policy {info.policy}, "
        f"{info.kv_tokens:,} KV tokens\nlog: {process.log_path}\nCtrl-C stops it",
        markup=False,
        soft_wrap=True,
    )


async def _watch(process: EngineProcess) -> None:
    """Wait; raise when the engine ends by itself."""
    while (code := process.exit_code) is None:  # noqa: ASYNC110 - nothing to await instead
        await anyio.sleep(_WATCH_S)
    raise EngineLost(
        f"the engine ended by itself ({ending(code)}):\n{process.last_words()}",
        hint=f"its whole log: {process.log_path}",
    )
