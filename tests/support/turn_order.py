"""In which order an engine that runs one request at a time serves the turns of programs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2

from agentrt_engine.wire.identity import ProgramTag

#: Decode steps for which the engine is busy while the others queue: several seconds.
_BUSY_TOKENS = 200
_TOKENS = 4

#: Between requests, so that they queue in this order, seconds.
_APART_S = 0.3


def order_of_turns(url: str) -> list[str]:
    """Program `early` takes a turn; then, while `busy` runs, first turns of three late programs
    queue, and behind them the second turn of `early`. Returns the names as they finish.
    """
    finished: list[str] = []

    def take_turn(program: str, tokens: int) -> None:
        body = {
            "model": "default",
            "messages": [{"role": "user", "content": f"I am {program}."}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "custom_params": ProgramTag(program).custom_params(),
        }
        answer = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=120)
        answer.raise_for_status()
        finished.append(program)

    take_turn("early", _TOKENS)
    with ThreadPoolExecutor() as pool:
        turns = []
        for program in ("busy", "late 1", "late 2", "late 3", "early"):
            tokens = _BUSY_TOKENS if program == "busy" else _TOKENS
            turns.append(pool.submit(take_turn, program, tokens))
            time.sleep(_APART_S)
        for turn in turns:
            turn.result()
    return finished[1:]
