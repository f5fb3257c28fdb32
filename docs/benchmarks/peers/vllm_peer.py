"""vLLM on the CPU: `python vllm_peer.py MODEL-FOLDER`."""

from __future__ import annotations

import os
import sys

from protocol import serve


def main() -> None:
    """Serve its offline engine."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    import vllm

    engine = vllm.LLM(
        model=sys.argv[1],
        dtype="bfloat16",
        max_model_len=4096,
        max_num_seqs=16,
        enable_prefix_caching=False,
    )

    def generate(prompts: list[list[int]], new: int) -> None:
        sampling = vllm.SamplingParams(temperature=0, max_tokens=new, ignore_eos=True)
        inputs = [{"prompt_token_ids": ids} for ids in prompts]
        engine.generate(inputs, sampling, use_tqdm=False)

    serve(vllm.__version__, generate)


if __name__ == "__main__":
    main()
