"""What an engine is started with, and the arguments of SGLang that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agentrt_engine.cache import learned_dir
from agentrt_engine.device import Device, detect_device
from agentrt_engine.errors import SettingError
from agentrt_engine.loopback import is_loopback
from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.models.folder import resolve_model
from agentrt_engine.policy import DEFAULT_POLICY, make_live_policy
from agentrt_engine.sglang.flag import CACHE_BACKEND, IDLE_S, LEASE_SHARE, EngineFlag
from agentrt_engine.sglang.lora.adapter import NamedAdapter, read_adapters
from agentrt_engine.simulated.profile import load_profile

#: For SGLang's option `--attention-backend`, on the CPU and on CUDA.
ATTENTION_BACKEND = "agentrt"

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
        policy: name of a live policy, with parameters.
        port, host: where it listens; an address other than loopback needs a key.
        kv_tokens: capacity of the KV cache, tokens; None lets SGLang take what fits (CUDA).
        max_running: requests that run at once; None leaves it to SGLang.
        dtype: precision.
        api_keys: requests must bear one of them; none: no key is needed.
        profile: name or file of a cost profile to begin with; None: typical of the device.
        learned: file that keeps what the policy learns; None: it is forgotten at the end.
        lease_share: share of the KV memory that leases of paused programs may hold.
        idle_s: a program that pauses for longer has ended, seconds.
        adapters: LoRA adapters to start with.
        lora_rank: highest rank of an adapter that may be loaded; None: that of `adapters`, and
            without these adapters cannot be loaded at all.
        lora_sharing: what KV requests with different adapters may share.

    Raises:
        SettingError: a number is out of range, a key cannot be sent, or an open address has none.
    """

    model: Path
    device: Device
    policy: str
    port: int
    host: str = LOOPBACK
    kv_tokens: int | None = None
    max_running: int | None = None
    dtype: DType = DType.AUTO
    api_keys: tuple[str, ...] = ()
    profile: str | None = None
    learned: Path | None = None
    lease_share: float = LEASE_SHARE
    idle_s: float = IDLE_S
    adapters: tuple[NamedAdapter, ...] = ()
    lora_rank: int | None = None
    lora_sharing: LoraSharing = LoraSharing.OFF

    @property
    def serves_adapters(self) -> bool:
        """Whether adapters can be loaded."""
        return bool(self.adapters) or self.lora_rank is not None

    @property
    def api_key(self) -> str | None:
        """The key that SGLang itself runs with."""
        return self.api_keys[0] if self.api_keys else None

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the engine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def __post_init__(self) -> None:
        if not any(self.api_keys) and not is_loopback(self.host):
            raise SettingError(
                f"refusing to listen on {self.host} without a key: anyone who reaches it could use "
                "the engine",
                hint="add --api-key KEY, or listen on 127.0.0.1",
            )
        for name in ("kv_tokens", "max_running", "lora_rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}: expected at least 1")
        if not 1 <= self.port <= 65_535:
            raise SettingError(f"port is {self.port}: expected 1 to 65535")
        if not 0 <= self.lease_share <= 1:
            raise SettingError(f"lease_share is {self.lease_share}: expected 0 to 1")
        if not self.idle_s > 0:
            raise SettingError(f"idle_s is {self.idle_s}: expected more than 0 seconds")
        if self.lora_sharing is not LoraSharing.OFF and not self.serves_adapters:
            raise SettingError(
                f"--lora-sharing {self.lora_sharing} without adapters",
                hint="add --lora NAME=PATH, or --lora-rank to load them later",
            )
        most = max((each.adapter.rank for each in self.adapters), default=0)
        if self.lora_rank is not None and self.lora_rank < most:
            raise SettingError(
                f"lora_rank is {self.lora_rank}: expected at least {most}, an adapter's rank"
            )
        for at, key in enumerate(self.api_keys, start=1):
            if not (key and key.isascii() and key.isprintable()) or " " in key:
                raise SettingError(
                    f"API key {at} of {len(self.api_keys)}: expected visible ASCII characters"
                )

    def flag(self, instance: str) -> EngineFlag:
        """What the plug-in is told."""
        return EngineFlag(
            policy=self.policy,
            instance=instance,
            keys=max(1, len(self.api_keys)),
            profile=self.profile,
            learned=None if self.learned is None else str(self.learned),
            lease_share=self.lease_share,
            idle_s=self.idle_s,
            lora_sharing=self.lora_sharing,
        )

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
            "radix-cache-backend": CACHE_BACKEND,
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
                "attention-backend": ATTENTION_BACKEND,
                "sampling-backend": "pytorch",
                "mem-fraction-static": "0.5",
            }
            flags += [
                "disable-cuda-graph",
                # The model runs in the scheduler's own thread: overlapping hides nothing and
                # holds the first token back by a step.
                "disable-overlap-schedule",
                "sleep-on-idle",
            ]
        return [
            *(part for name, value in arguments.items() for part in (f"--{name}", value)),
            *(f"--{flag}" for flag in flags),
            *(self._lora_arguments() if self.serves_adapters else ()),
        ]

    def _lora_arguments(self) -> list[str]:
        rank = max([self.lora_rank or 0, *(each.adapter.rank for each in self.adapters)])
        arguments = ["--enable-lora", "--max-lora-rank", str(rank)]
        if self.adapters:
            paths = (f"{each.name}={each.path}" for each in self.adapters)
            arguments += ["--lora-paths", *paths]
        else:
            arguments += ["--lora-target-modules", "all"]
        if self.device is Device.CPU:
            return [*arguments, "--lora-backend", "torch_native"]
        if self.lora_sharing.splits_values:
            # What is shared differs from batch to batch; a CUDA graph is always the same.
            return [
                *arguments,
                *("--lora-backend", "triton", "--attention-backend", ATTENTION_BACKEND),
                "--disable-cuda-graph",
            ]
        return arguments


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
    api_keys: Sequence[str] = (),
    profile: str | None = None,
    learned: Path | None = None,
    learn: bool = False,
    lease_share: float = LEASE_SHARE,
    idle_s: float = IDLE_S,
    lora: Sequence[str] = (),
    lora_rank: int | None = None,
    lora_sharing: LoraSharing = LoraSharing.OFF,
) -> EngineOptions:
    """Options with everything left open filled in for this machine.

    Args:
        model: name of a fetched model or a folder; None: the default model.
        device: None: CUDA where there is a device, else the CPU.
        policy: None: the default policy.
        kv_tokens, max_running: None: what suits the CPU, on CUDA SGLang's own choice.
        api_keys: empty ones do not count: they come from variables that are not set.
        lora: adapters as `NAME=PATH`.
        learned: None with `learn`: a file per model and policy in the cache folder.

    Raises:
        ModelNotFound: the model is not there.
        UnknownPolicy: there is no such policy, or it needs a simulated engine.
        ProfileError: the profile does not exist or cannot be used.
        SettingError: as `EngineOptions`.
    """
    chosen = detect_device() if device is None else device
    on_cpu = chosen is Device.CPU
    folder = resolve_model(model)
    policy = policy or DEFAULT_POLICY
    name = make_live_policy(policy).name
    if profile is not None:
        load_profile(profile)
    if learned is None and learn:
        learned = learned_dir() / f"{folder.name}-{name}.json"
    return EngineOptions(
        model=folder,
        device=chosen,
        policy=policy,
        port=port,
        host=host,
        kv_tokens=CPU_KV_TOKENS if kv_tokens is None and on_cpu else kv_tokens,
        max_running=CPU_MAX_RUNNING if max_running is None and on_cpu else max_running,
        dtype=dtype,
        api_keys=tuple(filter(None, api_keys)),
        profile=profile,
        learned=learned,
        lease_share=lease_share,
        idle_s=idle_s,
        adapters=read_adapters(lora, lora_sharing),
        lora_rank=lora_rank,
        lora_sharing=lora_sharing,
    )
