"""What an engine is started with, and the arguments of SGLang that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agentrt_engine.device import Device, detect_device
from agentrt_engine.errors import SettingError
from agentrt_engine.loopback import is_loopback
from agentrt_engine.models.folder import resolve_model
from agentrt_engine.policy import DEFAULT_ORDER

CPU_ATTENTION_BACKEND = "agentrt_cpu"

#: On the CPU SGLang would take 15 GB for KV; this is 0.7 GB for SmolLM2-135M.
CPU_KV_TOKENS = 32_768
CPU_MAX_RUNNING = 16

LOOPBACK = "127.0.0.1"


class DType(StrEnum):
    """Precision of weights, activations and KV."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """One engine.

    Attributes:
        model: folder of the model.
        device: where it runs.
        policy: registered name.
        port, host: where it listens; an address other than loopback needs a key.
        kv_tokens: capacity of the KV cache, tokens; None lets SGLang take what fits (CUDA).
        max_running: requests that run at once; None leaves it to SGLang.
        dtype: precision.
        api_key: key that requests must bear, None for no key.

    Raises:
        SettingError: a number is out of range, or an open address has no key.
    """

    model: Path
    device: Device
    policy: str
    port: int
    host: str = LOOPBACK
    kv_tokens: int | None = None
    max_running: int | None = None
    dtype: DType = DType.AUTO
    api_key: str | None = None

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the engine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def __post_init__(self) -> None:
        if not self.api_key and not is_loopback(self.host):
            raise SettingError(
                f"refusing to listen on {self.host} without a key: anyone who reaches it could use "
                "the engine",
                hint="add --api-key KEY, or listen on 127.0.0.1",
            )
        for name in ("kv_tokens", "max_running"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}: expected at least 1")
        if not 1 <= self.port <= 65_535:
            raise SettingError(f"port is {self.port}: expected 1 to 65535")

    def sglang_arguments(self) -> list[str]:
        """Command-line arguments of SGLang. The key is not among them: those show in `ps`."""
        arguments = {
            "model-path": str(self.model),
            "device": self.device.value,
            "dtype": self.dtype.value,
            "host": self.host,
            "port": str(self.port),
            "served-model-name": self.model.name,
            "grammar-backend": "xgrammar",
        }
        flags = [
            "constrained-json-disable-any-whitespace",  # or decoding may never end
            "enable-cache-report",  # cached tokens in `usage`
            "enable-metrics",  # queue time in `meta_info`
        ]
        if self.kv_tokens is not None:
            arguments["max-total-tokens"] = str(self.kv_tokens)
        if self.max_running is not None:
            arguments["max-running-requests"] = str(self.max_running)
        if self.device is Device.CPU:
            arguments |= {
                "attention-backend": CPU_ATTENTION_BACKEND,
                "sampling-backend": "pytorch",
                "mem-fraction-static": "0.5",
            }
            flags += ["disable-cuda-graph", "sleep-on-idle"]
        return [
            *(part for name, value in arguments.items() for part in (f"--{name}", value)),
            *(f"--{flag}" for flag in flags),
        ]


def engine_options(
    *,
    port: int,
    model: str | None = None,
    device: Device | None = None,
    policy: str | None = None,
    host: str = LOOPBACK,
    kv_tokens: int | None = None,
    max_running: int | None = None,
    dtype: DType = DType.AUTO,
    api_key: str | None = None,
) -> EngineOptions:
    """Options with everything left open filled in for this machine.

    Args:
        model: name of a fetched model or a folder; None: the default model.
        device: None: CUDA where there is a device, else the CPU.
        policy: None: the default policy.
        kv_tokens, max_running: None: what suits the CPU, on CUDA SGLang's own choice.

    Raises:
        ModelNotFound: the model is not there.
        SettingError: as `EngineOptions`.
    """
    chosen = detect_device() if device is None else device
    on_cpu = chosen is Device.CPU
    return EngineOptions(
        model=resolve_model(model),
        device=chosen,
        policy=DEFAULT_ORDER if policy is None else policy,
        port=port,
        host=host,
        kv_tokens=CPU_KV_TOKENS if kv_tokens is None and on_cpu else kv_tokens,
        max_running=CPU_MAX_RUNNING if max_running is None and on_cpu else max_running,
        dtype=dtype,
        api_key=api_key or None,  # an empty variable is no key
    )
