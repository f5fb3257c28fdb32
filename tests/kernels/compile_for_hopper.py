"""Compiles the Triton kernels for sm_90, without a GPU, and prints what ptxas says, as JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from agentrt_engine.kernels.segment_attention_triton import attend, join, launch

HOPPER = GPUTarget("cuda", 90, 32)

#: Llama 3.1 8B: 32 query heads, 8 KV heads, heads of 128.
SHAPE = {"GROUP": 4, "SIZE": 128, "VALUE_SIZE": 128, "PAGE": 1, "KEYS": 64}
BLOCKS = {"BLOCK_SIZE": 128, "BLOCK_VALUE": 128, "BLOCK_RANK": 16}


def main() -> None:
    """All variants that an engine uses."""
    found = {}
    for name, rows, parts in (("decode", 16, 16), ("extend", 64, 1)):
        for low in (False, True):
            constants = {
                **SHAPE,
                **BLOCKS,
                "ROWS": rows,
                "PARTS": parts,
                "HAS_HOLES": True,
                "HAS_LOW_RANK": low,
                "HAS_PRODUCERS": low,
                "UPCAST": False,
            }
            found[f"{name}{', low-rank' if low else ''}"] = _compiled(
                attend, constants, **launch(rows)
            )
    constants = {"PARTS": 16, "VALUE_SIZE": 128, "BLOCK_PARTS": 16, "BLOCK_VALUE": 128}
    found["join"] = _compiled(join, constants)
    json.dump(found, sys.stdout)


def _compiled(kernel: Any, constants: dict[str, Any], **options: int) -> dict[str, int]:
    types = {"scale": "fp32", "parts": "*fp32", "part_logsumexp": "*fp32"}
    whole = ("query_start", "query_positions", "pages", "lengths", "key_positions")
    types |= dict.fromkeys((*whole, "ranks", "adapters", "producers"), "*i32")
    types |= dict.fromkeys(("query", "keys", "values", "output", "low_rank", "up"), "*bf16")
    signature = {
        name: "constexpr" if name in constants else types.get(name, "i32")
        for name in kernel.arg_names
    }
    # As at run time: tensors and strides are multiples of 16.
    aligned = {
        (at,): [["tt.divisibility", 16]]
        for at, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*") or name.endswith("stride")
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    compiled = triton.compile(source, target=HOPPER, options=options)
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "kernel.ptx")
        code.write_text(compiled.asm["ptx"])
        arch = re.search(r"\.target (\w+)", compiled.asm["ptx"])
        assert arch is not None
        said = subprocess.run(
            [
                get_ptxas(HOPPER.arch).path,
                "-v",
                f"--gpu-name={arch[1]}",
                "-o",
                f"{folder}/kernel.cubin",
                code,
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stderr
    numbers = {
        "registers": r"Used (\d+) registers",
        "spilled_store_bytes": r"(\d+) bytes spill stores",
        "spilled_load_bytes": r"(\d+) bytes spill loads",
    }
    found = {name: re.search(pattern, said) for name, pattern in numbers.items()}
    result = {name: int(match[1]) for name, match in found.items() if match is not None}
    return {**result, "shared_bytes": compiled.metadata.shared, "arch": int(arch[1][3:5])}


if __name__ == "__main__":
    main()
