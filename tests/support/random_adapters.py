"""LoRA adapters with random matrices: unlike trained ones, they change every logit a lot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from agentrt_engine.sglang.lora.adapter import CONFIG


def random_adapter(
    folder: Path,
    model: Path,
    seed: int,
    *,
    rank: int = 8,
    modules: Sequence[str] = ("q_proj", "v_proj"),
    invocation: Sequence[int] = (),
    down_seed: int | None = None,
    scale: float = 0.05,
) -> Path:
    """Write an adapter for a Llama model in PEFT's format.

    Args:
        modules: projections of attention that it adapts.
        down_seed: of the matrices A; adapters that have it in common have A in common.
        scale: of the matrices B.
    """
    config = json.loads((model / "config.json").read_text())
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    size = config.get("head_dim") or hidden // heads
    outputs = {"q_proj": heads * size, "o_proj": hidden}
    outputs |= dict.fromkeys(("k_proj", "v_proj"), config["num_key_value_heads"] * size)
    inputs = dict.fromkeys(("q_proj", "k_proj", "v_proj"), hidden) | {"o_proj": heads * size}
    downs = torch.Generator().manual_seed(seed if down_seed is None else down_seed)
    ups = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name in modules:
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            down = torch.randn(rank, inputs[name], generator=downs) / inputs[name] ** 0.5
            tensors[f"{prefix}.lora_A.weight"] = down
            up = torch.randn(outputs[name], rank, generator=ups) * scale
            tensors[f"{prefix}.lora_B.weight"] = up
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    written = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": list(modules),
        "bias": "none",
    }
    if invocation:
        written["alora_invocation_tokens"] = list(invocation)
    (folder / CONFIG).write_text(json.dumps(written))
    return folder
