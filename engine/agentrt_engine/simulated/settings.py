"""What a simulated engine is."""

from __future__ import annotations

from dataclasses import dataclass

from agentrt_engine.policy.protocol import Costs


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Size and speed of a simulated engine.

    Attributes:
        kv_tokens: KV memory.
        chunk_tokens: prefilled in one step at most.
        max_running: turns in the batch at most.
        page: tokens of a page of KV memory.
        host_tokens: of host memory for copies of KV; 0 for no host tier. `costs.host_s` says
            what a token costs that comes back from there.
        mixed_steps: a step prefills beside the turns that decode; else prefill has steps of its
            own while decoding waits, as in SGLang without `--enable-mixed-chunk`.
    """

    costs: Costs
    kv_tokens: int
    chunk_tokens: int = 8192
    max_running: int = 256
    page: int = 16
    host_tokens: int = 0
    mixed_steps: bool = True
