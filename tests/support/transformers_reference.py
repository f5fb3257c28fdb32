"""Greedy decoding by transformers, in a process of its own.

    python transformers_reference.py MODEL < request.json > answer.json

A child, because transformers takes seconds to import and must not see torchvision's CUDA
build. Always float32. The request holds `generate`, prompts to continue by `tokens` tokens,
and `gaps`, token sequences whose next-token logits are wanted: the answer to each is the
difference between the two largest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypedDict


class Answer(TypedDict):
    """Continuations of `generate` and top-2 logit gaps of `gaps`, in order."""

    generate: list[list[int]]
    gaps: list[float]


def ask(
    model: Path,
    *,
    generate: list[list[int]] | None = None,
    tokens: int = 0,
    gaps: list[list[int]] | None = None,
) -> Answer:
    """Run the reference on token ids."""
    request = {"generate": generate or [], "tokens": tokens, "gaps": gaps or []}
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
    answer: Answer = {"generate": [], "gaps": []}
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
        for sequence in request["gaps"]:
            top = model(torch.tensor([sequence])).logits[0, -1].topk(2).values
            answer["gaps"].append(float(top[0] - top[1]))
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    _main()
