"""What a real engine learns of its own steps, beside what a client sees of them."""

from __future__ import annotations

import json
import random
import time
from statistics import median

import httpx2

from agentrt_engine.sglang.server import EngineProcess
from agentrt_engine.step_costs import StepCosts
from agentrt_engine.wire.control import LEARNED_PATH

PROMPT_TOKENS = 400
OUTPUT_TOKENS = 24


def stream_times(client: httpx2.Client, token_ids: list[int]) -> list[float]:
    """When each token came, seconds after the request was sent."""
    body = {
        "input_ids": token_ids,
        "sampling_params": {"max_new_tokens": OUTPUT_TOKENS, "ignore_eos": True},
        "stream": True,
    }
    times: list[float] = []
    sent_s = time.perf_counter()
    with client.stream("POST", "/generate", json=body) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                tokens = len(json.loads(line.removeprefix("data: "))["output_ids"])
                times += [time.perf_counter() - sent_s] * (tokens > len(times))
    return times


def test_learned_step_costs_are_those_that_a_client_sees(engine: EngineProcess) -> None:
    rng = random.Random(time.time_ns())
    with httpx2.Client(base_url=engine.url, timeout=60) as client:
        streams = [
            stream_times(client, [rng.randrange(1000, 30_000) for _ in range(PROMPT_TOKENS)])
            for _ in range(6)
        ]
        learned = client.get(LEARNED_PATH).json()
    costs = StepCosts.restore(learned["data"]["costs"]).costs()
    prefill_s = costs.fixed_s + costs.prefill_s * PROMPT_TOKENS
    prefill_s += costs.position_s * PROMPT_TOKENS * (PROMPT_TOKENS - 1) / 2
    decode_s = costs.fixed_s + costs.sequence_s + costs.decode_s * PROMPT_TOKENS
    ttft_s = median(times[0] for times in streams)
    tpot_s = median((times[-1] - times[0]) / (len(times) - 1) for times in streams)
    # The engine also remembers steps of a time when the machine was busier or idler than now, up to
    # twofold; a step that is charged to another kind of batch is off tenfold.
    assert 1 / 3 < prefill_s / ttft_s < 3
    assert 1 / 3 < decode_s / tpot_s < 3
