"""A small server that scores replies like an engine with adapters: softmaxes over 300 tokens.

What it expects after a token depends on that token and the adapter; where it reuses the KV of
another adapter, its logits are off by a known amount.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

VOCABULARY = 300
INFO = {
    "version": "0", "sglang": "0.5.23", "instance": "x", "model": "small", "device": "cpu",
    "policy": "guard", "kv_tokens": 100_000, "max_running": 16,
}  # fmt: skip


def expected(adapter: str, token: int, producer: str) -> list[float]:
    """Log-probabilities of what follows `token`, by token id."""
    logits = [4 * v for v in _random(f"{adapter} {token}")]
    if producer != adapter:
        off = _random(f"{producer} {adapter} {token}")
        logits = [logit + error for logit, error in zip(logits, off, strict=True)]
    whole = math.log(math.fsum(map(math.exp, logits)))
    return [logit - whole for logit in logits]


def greedy(adapter: str, after: int, tokens: int) -> list[int]:
    """What an adapter says after a token, unshared."""
    said: list[int] = []
    for _ in range(tokens):
        log_probs = expected(adapter, said[-1] if said else after, adapter)
        said.append(log_probs.index(max(log_probs)))
    return said


def _random(seed: str) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(0, 1) for _ in range(VOCABULARY)]


@dataclass(slots=True)
class ScoringServer:
    """`app()` serves it.

    Attributes:
        sharing: its mode.
        adapters: names of those it has.
        shares: whether it does what its mode says.
        rows: of log-probabilities that it leaves out.
        generated: bodies of requests.
    """

    sharing: str = "base"
    adapters: tuple[str, ...] = ("coder", "planner")
    shares: bool = True
    rows: int = 0
    generated: list[dict[str, Any]] = field(default_factory=list)
    _kv: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/agentrt/info", self._info),
                Route("/v1/models", self._models),
                Route("/tokenize", self._tokenize, methods=["POST"]),
                Route("/generate", self._generate, methods=["POST"]),
            ]
        )

    async def _info(self, _request: Request) -> Response:
        return JSONResponse(INFO | {"lora_sharing": self.sharing})

    async def _models(self, _request: Request) -> Response:
        adapters = [{"id": name, "parent": "small"} for name in self.adapters]
        return JSONResponse({"data": [{"id": "small", "parent": None}, *adapters]})

    async def _tokenize(self, request: Request) -> Response:
        """A token per character."""
        body = await _json(request)
        if "messages" in body:
            text = "".join(message["content"] for message in body["messages"]) + "\n"
        else:
            text = body["prompt"]
        begin = [1] if body.get("add_special_tokens", "messages" not in body) else []
        return JSONResponse({"tokens": begin + [ord(character) for character in text]})

    async def _generate(self, request: Request) -> Response:
        body = await _json(request)
        self.generated.append(body)
        ids, adapter, sampling = body["input_ids"], body["lora_path"], body["sampling_params"]
        asks = sampling["custom_params"]["agentrt"].get("lora_sharing", False)
        who = "" if asks and self.shares and self.sharing != "off" else adapter
        most = min(len(ids) - 1, body.get("logprob_start_len", len(ids)))
        producer, there = self._kv.get((body["extra_key"], who), (adapter, 0))
        reused = min(most, there)
        self._kv.setdefault((body["extra_key"], who), (adapter, len(ids)))
        meta: dict[str, Any] = {"cached_tokens": reused}
        if body.get("return_logprob"):
            rows = [
                _listed(expected(adapter, token, producer), body["top_logprobs_num"])
                for token in ids[body["logprob_start_len"] : -1]
            ]
            meta["input_top_logprobs"] = [None, *rows[self.rows :]]
        said = greedy(adapter, ids[-1], sampling["max_new_tokens"])
        return JSONResponse({"text": "", "output_ids": said, "meta_info": meta})


async def _json(request: Request) -> Any:
    """The body; like SGLang, only where it is said to be JSON."""
    if request.headers.get("content-type") != "application/json":
        raise HTTPException(400, "Unsupported Media Type")
    return json.loads(await request.body())


def _listed(log_probs: list[float], top: int) -> list[tuple[float, int, None]]:
    ordered = sorted(range(VOCABULARY), key=lambda token: -log_probs[token])
    return [(log_probs[token], token, None) for token in ordered[:top]]
