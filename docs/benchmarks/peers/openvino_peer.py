"""OpenVINO GenAI: `python openvino_peer.py IR-FOLDER`."""

from __future__ import annotations

import sys

import numpy
from protocol import serve


def main() -> None:
    """Serve its pipeline with continuous batching."""
    import openvino
    import openvino_genai as genai

    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 1
    scheduler.enable_prefix_caching = False
    scheduler.max_num_seqs = 16
    hints = {"INFERENCE_PRECISION_HINT": "bf16"}
    pipeline = genai.ContinuousBatchingPipeline(sys.argv[1], scheduler, "CPU", hints)

    def generate(prompts: list[list[int]], new: int) -> None:
        config = genai.GenerationConfig(max_new_tokens=new, ignore_eos=True, do_sample=False)
        inputs = [openvino.Tensor(numpy.array([ids], dtype=numpy.int64)) for ids in prompts]
        pipeline.generate(inputs, [config] * len(inputs))

    serve(genai.__version__, generate)


if __name__ == "__main__":
    main()
