"""Greedy decoding by transformers, in a process of its own.

    python transformers_reference.py MODEL < request.json > answer.json

A child, because transformers takes seconds to import and must not see torchvision's CUDA
build. The request holds `generate`, prompts to continue by `tokens` tokens in float32, and
`margins`, token sequences: the answer to each is a `Margin` for every position.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypedDict


class Margin(TypedDict):
    """How far the best next token leads: the two best in float32, and their logits' difference."""

    best: int
    second: int
    float32: float
    bfloat16: float


class Answer(TypedDict):
    """Continuations of `generate` and margins of `margins`, in order."""

    generate: list[list[int]]
    margins: list[list[Margin]]


def ask(
    model: Path,
    *,
    generate: list[list[int]] | None = None,
    tokens: int = 0,
    margins: list[list[int]] | None = None,
) -> Answer:
    """Run the reference on token ids."""
    request = {"generate": generate or [], "tokens": tokens, "margins": margins or []}
    done = subprocess.run(
        [sys.executable, __file__, str(model)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    answer: Answer = json.loads(done.stdout)
    return answer


def _main() -> None:
    sys.modules["torchvision"] = None  # type: ignore[assignment]
    import torch
    from transformers import AutoModelForCausalLM

    request = json.load(sys.stdin)
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
    answer: Answer = {"generate": [], "margins": []}
    with torch.inference_mode():
        for prompt in request["generate"]:
            output = model.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=request["tokens"],
                min_new_tokens=request["tokens"],
                do_sample=False,
            )
            answer["generate"].append(output[0, len(prompt) :].tolist())
        if request["margins"]:
            rounded = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
        for sequence in request["margins"]:
            tokens = torch.tensor([sequence])
            exact = model(tokens).logits[0]
            both = exact.topk(2).indices
            leads = (
                logits.gather(1, both).float() for logits in (exact, rounded(tokens).logits[0])
            )
            float32, bfloat16 = ((pair[:, 0] - pair[:, 1]).tolist() for pair in leads)
            answer["margins"].append(
                [
                    Margin(best=best, second=second, float32=wide, bfloat16=narrow)
                    for (best, second), wide, narrow in zip(
                        both.tolist(), float32, bfloat16, strict=True
                    )
                ]
            )
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    _main()
