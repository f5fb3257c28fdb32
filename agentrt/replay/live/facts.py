"""What an engine says of itself before a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentrt.replay.live.address import host_and_port
from agentrt_engine.wire.info import EngineInfo

#: Tokens of a context that engines keep for themselves.
_RESERVE = 8


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """An engine as it answered.

    Attributes:
        name: of its column.
        owner: who made it, as its list of models says: sglang, vllm …
        version: of it; None where it does not say.
        protocol: how it is asked.
        info: what our plug-in says; None without it.
        context_tokens: of its model; kv_tokens: of its KV cache; None where it does not say.
        returns_ids: whether it tells the ids it generated.
        exact_length: whether outputs can be made as long as asked for.
    """

    name: str
    url: str
    model: str
    owner: str
    version: str | None
    protocol: str
    info: EngineInfo | None
    context_tokens: int | None
    kv_tokens: int | None
    returns_ids: bool
    exact_length: bool

    @property
    def largest_turn(self) -> int | None:
        """Tokens of prompt and output that fit; None where it does not say."""
        known = [size for size in (self.context_tokens, self.kv_tokens) if size is not None]
        return min(known) - _RESERVE if known else None

    def as_dict(self) -> dict[str, Any]:
        """For a result document."""
        info = self.info
        return {
            "name": self.name,
            "url": self.url,
            "model": self.model,
            "owner": self.owner,
            "version": self.version,
            "policy": info.policy if info else None,
            "device": info.device if info else None,
            "max_running": info.max_running if info else None,
            "protocol": self.protocol,
            "context_tokens": self.context_tokens,
            "kv_tokens": self.kv_tokens,
            "returns_ids": self.returns_ids,
            "exact_length": self.exact_length,
        }


def default_name(url: str, owner: str, info: EngineInfo | None) -> str:
    """Of a column whose engine was given no name: its policy, its make, or where it is."""
    if info is not None:
        return info.policy
    return owner if owner in ("sglang", "vllm") else host_and_port(url)


def told_apart(engines: Sequence[EngineFacts]) -> list[EngineFacts]:
    """The engines, those of equal names with their address behind the name."""
    names = [engine.name for engine in engines]
    return [
        replace(engine, name=f"{engine.name} {host_and_port(engine.url)}")
        if names.count(engine.name) > 1
        else engine
        for engine in engines
    ]
