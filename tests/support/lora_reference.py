"""A Llama with LoRA, written to be read: no cache, no batch, every prompt computed anew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from agentrt_engine.sglang.lora.adapter import CONFIG


@contextmanager
def _alone() -> Iterator[None]:
    """Torch without threads of its own, which wait for each other where others compute too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class LoraReference:
    """A model folder, computed in float64, or in float32 to see how far off that is."""

    def __init__(self, model: Path, dtype: torch.dtype = torch.float64) -> None:
        self._dtype = dtype
        config = json.loads((model / "config.json").read_text())
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._kv_heads: int = config["num_key_value_heads"]
        self._epsilon: float = config["rms_norm_eps"]
        theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
        size = config["hidden_size"] // self._heads
        self._frequencies = theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        self._weights = {
            name: tensor.to(dtype)
            for path in sorted(model.glob("*.safetensors"))
            for name, tensor in load_file(path).items()
        }

    def log_probabilities(
        self, tokens: Sequence[int], new: int, adapter: Path | None, start: int = 0
    ) -> Tensor:
        """Of what comes after each of the last `new` tokens, [new, vocabulary].

        Args:
            adapter: folder of the adapter that acts from position `start` on.
        """
        with torch.inference_mode(), _alone():
            return self._log_probabilities(tokens, new, _Lora(adapter, start, self._dtype))

    def _log_probabilities(self, tokens: Sequence[int], new: int, lora: _Lora) -> Tensor:
        embedding = self._weights["model.embed_tokens.weight"]
        x = embedding[torch.tensor(tokens)]
        for layer in range(self._layers):
            x = x + self._attention(f"model.layers.{layer}.", x, lora)
            x = x + self._mlp(f"model.layers.{layer}.", x, lora)
        head = self._weights.get("lm_head.weight", embedding)
        return (self._norm("model.norm", x[-new:]) @ head.T).log_softmax(-1)

    def _attention(self, layer: str, x: Tensor, lora: _Lora) -> Tensor:
        x = self._norm(f"{layer}input_layernorm", x)
        name = f"{layer}self_attn."
        query, key, value = (
            self._linear(f"{name}{each}_proj", x, lora).view(len(x), heads, -1).transpose(0, 1)
            for each, heads in (("q", self._heads), ("k", self._kv_heads), ("v", self._kv_heads))
        )
        found = scaled_dot_product_attention(
            self._rotated(query), self._rotated(key), value, is_causal=True, enable_gqa=True
        )
        return self._linear(f"{name}o_proj", found.transpose(0, 1).flatten(1), lora)

    def _mlp(self, layer: str, x: Tensor, lora: _Lora) -> Tensor:
        x = self._norm(f"{layer}post_attention_layernorm", x)
        gate, up = (self._linear(f"{layer}mlp.{each}_proj", x, lora) for each in ("gate", "up"))
        return self._linear(f"{layer}mlp.down_proj", silu(gate) * up, lora)

    def _linear(self, name: str, x: Tensor, lora: _Lora) -> Tensor:
        return x @ self._weights[f"{name}.weight"].T + lora.added(name, x)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return rms_norm(x, x.shape[-1:], self._weights[f"{name}.weight"], self._epsilon)

    def _rotated(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * self._frequencies
        first, second = x.chunk(2, -1)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class _Lora:
    """An adapter that acts from a position on, or none."""

    def __init__(self, folder: Path | None, start: int, dtype: torch.dtype) -> None:
        self._start = start
        self._matrices: dict[str, tuple[Tensor, Tensor]] = {}
        if folder is None:
            return
        config = json.loads((folder / CONFIG).read_text())
        tensors = load_file(folder / "adapter_model.safetensors")
        scaling = config["lora_alpha"] / config["r"]
        for name in {name.rpartition(".lora_")[0] for name in tensors}:
            down, up = (tensors[f"{name}.lora_{each}.weight"].to(dtype) for each in "AB")
            self._matrices[name.removeprefix("base_model.model.")] = (down, up * scaling)

    def added(self, name: str, x: Tensor) -> Tensor:
        """(x·A)·B of a projection where the adapter acts, else 0."""
        if name not in self._matrices:
            return x.new_zeros(1)
        down, up = self._matrices[name]
        acts = torch.arange(len(x)) >= self._start
        return (x @ down.T) @ up.T * acts[:, None]
