"""Decodes the same prompts with and without the native kernels; prints how far they are apart.

    python -P native_steps.py MODEL

A process of its own: SGLang is imported with our compatibility layer, and its classes are changed.
"""

from __future__ import annotations

import json
import random
import sys
from array import array
from typing import Any
from unittest.mock import patch

from agentrt_engine.kernels.native.llama import LlamaDecoder
from agentrt_engine.sglang.cpu import compatibility

compatibility.install()

from sglang.benchmark import one_batch  # noqa: E402
from sglang.srt.plugins import load_plugins  # noqa: E402
from sglang.srt.server_args import PortArgs, prepare_server_args  # noqa: E402

from agentrt_engine.sglang.options import ATTENTION_BACKEND  # noqa: E402

PROMPTS, PROMPT_TOKENS, STEPS = 3, 200, 8


def main() -> None:
    """Load the model, decode twice, print one line of JSON."""
    load_plugins()
    from agentrt_engine.sglang.cpu import attention, linear, llama

    with (
        patch.object(linear, "install"),
        patch.object(llama, "install"),
        patch.object(attention, "library", lambda: None),
    ):
        runner = _runner(sys.argv[1])
        tokens, logits = _decode(runner)
    assert linear.install()
    assert llama.install()
    steps = 0
    step = LlamaDecoder.step

    def counted(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        return step(*arguments)

    with patch.object(LlamaDecoder, "step", counted):
        native_tokens, native_logits = _decode(runner)
    distances, gaps = [], []
    for row in range(PROMPTS):
        for at in range(STEPS):
            before, after = logits[at][row], native_logits[at][row]
            distances.append(float((before - after).square().mean().sqrt()))
            if tokens[at][row] != native_tokens[at][row]:
                gaps.append(float(before[tokens[at][row]] - before[native_tokens[at][row]]))
                break  # from here on they continue different texts
    report = {"steps": steps, "distances": distances, "gaps": gaps}
    print(json.dumps(report))  # noqa: T201


def _runner(model: str) -> Any:
    arguments = prepare_server_args(
        [
            *("--model-path", model, "--device", "cpu", "--dtype", "bfloat16"),
            *("--attention-backend", ATTENTION_BACKEND, "--sampling-backend", "pytorch"),
            *("--max-total-tokens", "2048", "--max-running-requests", "4"),
            *("--mem-fraction-static", "0.5", "--disable-cuda-graph"),
        ]
    )
    arguments.resolve_once()
    one_batch._set_envs_and_config(arguments)
    ports = PortArgs.init_new(arguments)
    rank = one_batch.spawn_world_rank(arguments, tp_rank=0, pp_rank=0)
    ranks = one_batch.SpawnRanks(world_rank=rank, gpu_id=0)
    one_batch.publish(arguments, role="scheduler", ranks=ranks)
    one_batch._init_process_global_configs()
    return one_batch.load_model(arguments, ports, 0, 0)[0].torch_runner


def _decode(runner: Any) -> tuple[list[list[int]], list[Any]]:
    """Tokens and logits after each step, of all prompts; the first token is the prompt's."""
    rng = random.Random(1)
    runner.req_to_token_pool.clear()
    runner.token_to_kv_pool_allocator.clear()
    requests = one_batch.prepare_synthetic_inputs_for_latency_test(PROMPTS, PROMPT_TOKENS)
    for request in requests:
        prompt = [rng.randrange(1_000, 49_000) for _ in range(PROMPT_TOKENS)]
        request.origin_input_ids = array(request.origin_input_ids.typecode, prompt)
        request.full_untruncated_fill_ids = request.origin_input_ids
        request.fill_ids = request.origin_input_ids
    found, _, batch = one_batch.extend(requests, runner)
    tokens, logits = [], []
    for _ in range(STEPS):
        found, scores = one_batch.decode(found, batch, runner)
        tokens.append(found.tolist())
        logits.append(scores.float().clone())
    return tokens, logits


if __name__ == "__main__":
    main()
