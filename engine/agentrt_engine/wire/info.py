"""What an engine says of itself at `GET /agentrt/info`."""

from __future__ import annotations

from typing import Any

import msgspec

from agentrt_engine.lora_sharing import LoraSharing

INFO_PATH = "/agentrt/info"


class EngineInfo(msgspec.Struct, frozen=True):
    """Answer of `GET /agentrt/info`.

    Attributes:
        version: of agentrt.
        sglang: version of the engine underneath.
        instance: random name of this start of the engine.
        model: name that requests may give as `model`.
        device: cpu or cuda.
        policy: registered name of the policy in force.
        kv_tokens: capacity of the KV cache, tokens.
        max_running: requests that may run at once.
        lora_sharing: what KV requests with different LoRA adapters may share.
    """

    version: str
    sglang: str
    instance: str
    model: str
    device: str
    policy: str
    kv_tokens: int
    max_running: int
    lora_sharing: LoraSharing = LoraSharing.OFF

    def to_builtins(self) -> dict[str, Any]:
        """As a JSON object."""
        builtins: dict[str, Any] = msgspec.to_builtins(self)
        return builtins


def decode_info(body: bytes) -> EngineInfo | None:
    """The info in a response body, None when it is something else."""
    try:
        return msgspec.json.decode(body, type=EngineInfo)
    except msgspec.DecodeError:
        return None
