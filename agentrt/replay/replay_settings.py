"""What the result of a simulated replay depends on, besides programs and policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.simulated.adapters import DEFAULT_RANK, Adapters
from agentrt_engine.simulated.profile import CostProfile
from agentrt_engine.simulated.settings import EngineSettings

DEFAULT_PROFILE = "llama-3.1-8b-h200"
DEFAULT_CHUNK = 8192
DEFAULT_MAX_RUNNING = 256
DEFAULT_PAGE = 16
#: Of a host tier whose bandwidth was not given: a x16 PCIe 5 link, 10^9 bytes per second.
DEFAULT_HOST_GBPS = 50.0


@dataclass(frozen=True, slots=True)
class SimulatedSettings:
    """A simulated engine as a user describes it.

    Attributes:
        profile_option: name or file of the profile, as given.
        chunk: tokens prefilled in one step at most.
        pause_cap_s: longer pauses are cut to this; None for no cap.
        host_tokens: size of the host tier; None for none.
        adapters: LoRA adapters that programs have, all of `lora_rank`; 0 without any.
        assigned: the trace had none, and programs were given that many by an option.
        lora_sharing: modes to compare.
    """

    profile: CostProfile
    kv_tokens: int
    profile_option: str = DEFAULT_PROFILE
    chunk: int = DEFAULT_CHUNK
    max_running: int = DEFAULT_MAX_RUNNING
    page: int = DEFAULT_PAGE
    pause_cap_s: float | None = None
    host_tokens: int | None = None
    host_gbps: float = DEFAULT_HOST_GBPS
    host_latency_ms: float = 0.0
    adapters: int = 0
    assigned: int | None = None
    lora_rank: int = DEFAULT_RANK
    lora_sharing: tuple[LoraSharing, ...] = (LoraSharing.OFF,)

    @property
    def memory_in_every_mode(self) -> int:
        """Tokens that the memory holds in every mode."""
        return min(self._adapters(mode).fitting(self.kv_tokens) for mode in self.lora_sharing)

    def _adapters(self, sharing: LoraSharing) -> Adapters:
        """Those that a step may meet."""
        return Adapters(min(self.adapters, self.max_running), sharing, self.lora_rank)

    def engine(self, sharing: LoraSharing | None = None) -> EngineSettings:
        """The engine to simulate.

        Args:
            sharing: its mode; None: the first.
        """
        adapters = self._adapters(sharing or self.lora_sharing[0])
        costs = self.profile.costs()
        if self.host_tokens is not None:
            costs = self.profile.costs(
                host_gbps=self.host_gbps, host_latency_s=self.host_latency_ms / 1000
            )
        return EngineSettings(
            costs=adapters.costs(costs),
            kv_tokens=adapters.fitting(self.kv_tokens),
            chunk_tokens=self.chunk,
            max_running=self.max_running,
            page=self.page,
            host_tokens=self.host_tokens or 0,
            mixed_steps=self.profile.mixed_steps,
        )

    def as_dict(self) -> dict[str, Any]:
        """For a result document."""
        return {
            "kv_tokens": self.kv_tokens,
            "chunk": self.chunk,
            "max_running": self.max_running,
            "page": self.page,
            "pause_cap_s": self.pause_cap_s,
            "host_tokens": self.host_tokens,
            "host_gbps": self.host_gbps if self.host_tokens is not None else None,
            "host_latency_ms": self.host_latency_ms if self.host_tokens is not None else None,
            "adapters": self.adapters,
            "lora_rank": self.lora_rank if self.adapters else None,
            "lora_sharing": list(self.lora_sharing) if self.adapters else None,
        }

    def flags(self) -> Iterator[str]:
        """Words of a command line that gives the same engine."""
        yield from ("--profile", self.profile_option, "--kv-tokens", str(self.kv_tokens))
        if self.chunk != DEFAULT_CHUNK:
            yield from ("--chunk", str(self.chunk))
        if self.max_running != DEFAULT_MAX_RUNNING:
            yield from ("--max-running", str(self.max_running))
        if self.page != DEFAULT_PAGE:
            yield from ("--page", str(self.page))
        if self.pause_cap_s is not None:
            yield from ("--pause-cap", f"{self.pause_cap_s:.12g}")
        if self.host_tokens is not None:
            yield from ("--host-tokens", str(self.host_tokens))
            yield from ("--host-gbps", f"{self.host_gbps:.12g}")
            yield from ("--host-latency-ms", f"{self.host_latency_ms:.12g}")
        if self.assigned is not None:
            yield from ("--adapters", str(self.assigned))
        if self.lora_rank != DEFAULT_RANK:
            yield from ("--lora-rank", str(self.lora_rank))
        if self.lora_sharing != (LoraSharing.OFF,):
            yield from ("--lora-sharing", ",".join(self.lora_sharing))
