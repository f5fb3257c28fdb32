"""GGUF → a Hugging Face folder that SGLang serves. Runs in a child process.

    python -m agentrt_engine.models.convert FILE.gguf TARGET_FOLDER

The only module of `models` that loads torch and transformers: as a child it keeps their
memory and import time out of the command line, and can be killed.
"""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = "chat_template.jinja"


def convert(gguf: Path, target: Path) -> None:
    """Write config, tokenizer, chat template and bf16 safetensors of `gguf` into `target`.

    The quantised weights are expanded and rounded once to bfloat16. They are copied into a
    fresh model, because transformers refuses to save one that carries GGUF's quantisation
    state.

    Args:
        gguf: a model of the SmolLM2 family (Llama architecture) in GGUF format.
        target: an existing empty folder.

    Raises:
        RuntimeError: the tensors are not those that the file's own configuration describes.
    """
    _prepare_imports()
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config = LlamaConfig.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    tensors: dict[str, Any] = load_gguf_checkpoint(
        str(gguf), return_tensors=True, model_to_load=model, torch_dtype=torch.bfloat16
    )["tensors"]
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if set(missing) - tied or unexpected:
        raise RuntimeError(f"{gguf.name}: missing tensors {missing}, unexpected {unexpected}")

    tokenizer = _tokenizer(gguf)
    tokenizer.model_max_length = config.max_position_embeddings
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _prepare_imports() -> None:
    # The GGUF holds everything; nothing may be looked up on a hub.
    os.environ["HF_HUB_OFFLINE"] = "1"
    # A CPU torch beside PyPI's CUDA-linked torchvision fails at import, and text needs none:
    # `None` makes transformers take torchvision for absent.
    sys.modules["torchvision"] = None  # type: ignore[assignment]


def _tokenizer(gguf: Path) -> Any:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # GGUF names SmolLM's pre-tokenizer ("smollm": every digit alone, then GPT-2's), which
    # transformers does not read; without it spaces before numbers are cut elsewhere.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.chat_template = files(__package__).joinpath(CHAT_TEMPLATE).read_text("utf-8")
    return tokenizer


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
