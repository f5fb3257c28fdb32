"""A model in Hugging Face's format as GGUF: `llama_convert.py FOLDER QUANTISED.gguf OUT TYPE`.

Vocabulary and shape come from the quantised file that the model was made from, the weights from
the folder. TYPE is BF16 or Q8_0. Needs gguf, torch and safetensors.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import torch
from safetensors.torch import load_file

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
SKIPPED = {"general.architecture", "general.file_type", "general.quantization_version"}


def main(folder: Path, quantised: Path, out: Path, kind: gguf.GGMLQuantizationType) -> None:
    """Convert."""
    reader = gguf.GGUFReader(quantised)
    writer = gguf.GGUFWriter(out, "llama")
    heads = {}
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in SKIPPED:
            continue
        value = field.contents()
        heads[name] = value
        array = field.types[0] is gguf.GGUFValueType.ARRAY
        writer.add_key_value(name, value, field.types[0], field.types[-1] if array else None)
    writer.add_file_type(
        gguf.LlamaFileType.MOSTLY_BF16
        if kind is gguf.GGMLQuantizationType.BF16
        else gguf.LlamaFileType.MOSTLY_Q8_0
    )
    weights = {
        name: tensor
        for path in folder.glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }
    for name, tensor in weights.items():
        values = tensor.float()
        if name in OUTER:
            target = OUTER[name]
        else:
            _, _, layer, rest = name.split(".", 3)
            target = f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"
            for part, key in (("attn_q", "head_count"), ("attn_k", "head_count_kv")):
                if f".{part}." in target:
                    values = interleaved(values, heads[f"llama.attention.{key}"])
        own = kind if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(values.numpy(), own)
        writer.add_tensor(target, data, raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleaved(values: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp rotates pairs of neighbours, Hugging Face the halves of a head."""
    rows, columns = values.shape
    return values.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        Path(sys.argv[3]),
        gguf.GGMLQuantizationType[sys.argv[4]],
    )
