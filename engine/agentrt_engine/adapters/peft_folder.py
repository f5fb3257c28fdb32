"""An adapter as a folder in the format of PEFT, which SGLang's `--lora-paths` reads, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from safetensors.torch import save_file

from agentrt_engine.adapters.low_rank import SCALE, TARGETS, LowRank
from agentrt_engine.adapters.training import RECORD, Trained
from agentrt_engine.sglang.lora.adapter import CONFIG, WEIGHTS


def write_adapter(
    folder: Path,
    model: Path,
    trained: Trained,
    layers: Mapping[str, LowRank],
    invocation: Sequence[int] | None,
) -> None:
    """Write configuration, weights (float32) and record into a new folder.

    Args:
        model: folder of the base model.
        layers: by name of the layer in the base model.
        invocation: tokens from which an activated adapter acts; None: it always does.
    """
    folder.mkdir(parents=True)
    config = adapter_config(model.name, trained.training.rank, invocation)
    (folder / CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(config)) + b"\n")
    (folder / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(trained)) + b"\n")
    weights = {}
    for name, layer in layers.items():
        weights[f"base_model.model.{name}.lora_A.weight"] = layer.a.detach().contiguous()
        weights[f"base_model.model.{name}.lora_B.weight"] = layer.b.detach().contiguous()
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    # safetensors writes files that only their owner can read.
    (folder / WEIGHTS).chmod(0o644)


def adapter_config(model: str, rank: int, invocation: Sequence[int] | None) -> dict[str, Any]:
    """Content of `adapter_config.json`."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": model,
        "r": rank,
        "lora_alpha": int(SCALE * rank),
        "lora_dropout": 0.0,
        "target_modules": list(TARGETS),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "alora_invocation_tokens": None if invocation is None else list(invocation),
    }
