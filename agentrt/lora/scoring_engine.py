"""Requests that score replies: SGLang's `/generate` and `/tokenize`, and what our plug-in adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import msgspec

from agentrt.errors import ModelRequestFailed, PluginInactive
from agentrt.lora.distribution import TopTokens
from agentrt.lora.engine_adapters import Api, engine_adapters
from agentrt.lora.prompts import Prompt
from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.wire.identity import ProgramTag
from agentrt_engine.wire.info import INFO_PATH, decode_info

#: Likeliest tokens that are asked for at each position.
TOP = 256

_T = TypeVar("_T")


class _Tokens(msgspec.Struct):
    tokens: list[int]


#: Log-probability, token id, text.
_Listed = tuple[float, int, str | None]


class _Meta(msgspec.Struct):
    cached_tokens: int
    input_top_logprobs: list[list[_Listed] | None] = []


class _Generated(msgspec.Struct):
    meta_info: _Meta
    output_ids: list[int] = []


@dataclass(frozen=True, slots=True)
class Namespace:
    """Requests whose KV lies together, apart from everything else in the engine's cache.

    Attributes:
        key: random.
        shared: whether the requests ask to share across adapters.
    """

    key: str
    shared: bool

    @classmethod
    def new(cls, *, shared: bool) -> Namespace:
        """One that nobody has used."""
        return cls(uuid4().hex, shared)


@dataclass(frozen=True, slots=True)
class Scored:
    """A reply as an adapter sees it.

    Attributes:
        reused_tokens: of the prompt, whose KV was there.
        expected: for each token of the reply, what was expected in its place.
    """

    reused_tokens: int
    expected: tuple[TopTokens, ...]


class ScoringEngine:
    """One engine with our plug-in.

    All methods raise EngineError where the engine cannot be reached, refuses, or answers in an
    unknown form.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._api.url

    def sharing(self) -> LoraSharing:
        """The engine's mode."""
        info = decode_info(self._api.request("GET", INFO_PATH))
        if info is None:
            raise PluginInactive(
                f"{self.url}{INFO_PATH} says nothing of an engine of this version of agentrt",
                hint="start it with agentrt serve",
            )
        return info.lora_sharing

    def adapters(self) -> list[str]:
        """Names of its adapters."""
        return [adapter.name for adapter in engine_adapters(self._api)]

    def context(self, prompt: Prompt) -> list[int]:
        """Tokens of a prompt without its continuation."""
        if prompt.messages is None:
            return self._tokenize({"prompt": prompt.text})
        return self._tokenize({"messages": prompt.messages})

    def tokens(self, continuation: str) -> list[int]:
        """Tokens of a text that follows others."""
        return self._tokenize({"prompt": continuation, "add_special_tokens": False})

    def reply(
        self, ids: Sequence[int], adapter: str, namespace: Namespace, tokens: int
    ) -> list[int]:
        """The greedy reply to a prompt, at most so many tokens; the prompt's KV stays."""
        return self._generate(ids, adapter, namespace, tokens, {}).output_ids

    def score(
        self, ids: Sequence[int], reply: Sequence[int], adapter: str, namespace: Namespace
    ) -> Scored:
        """What an adapter expects at each token of a given reply."""
        # The token before the reply is computed anew: what follows it is asked for.
        asked = {
            "return_logprob": True,
            "logprob_start_len": len(ids) - 1,
            "top_logprobs_num": TOP,
        }
        meta = self._generate([*ids, *reply], adapter, namespace, 1, asked).meta_info
        listed = [row for row in meta.input_top_logprobs if row]
        if len(listed) != len(reply):
            raise self._unknown(
                "/generate", f"log-probabilities of {len(listed)} tokens, expected {len(reply)}"
            )
        expected = (TopTokens({token: value for value, token, _ in row}) for row in listed)
        return Scored(meta.cached_tokens, tuple(expected))

    def _generate(
        self,
        ids: Sequence[int],
        adapter: str,
        namespace: Namespace,
        tokens: int,
        asked: dict[str, Any],
    ) -> _Generated:
        tag = ProgramTag(uuid4().hex, final=True, lora_sharing=namespace.shared)
        sampling = {"max_new_tokens": tokens, "temperature": 0}
        body = {
            "input_ids": list(ids),
            "lora_path": adapter,
            "extra_key": namespace.key,
            "sampling_params": {**sampling, "custom_params": tag.custom_params()},
            **asked,
        }
        return self._read(self._post("/generate", body), _Generated, "/generate")

    def _tokenize(self, body: dict[str, Any]) -> list[int]:
        return self._read(self._post("/tokenize", body), _Tokens, "/tokenize").tokens

    def _post(self, path: str, body: dict[str, Any]) -> bytes:
        return self._api.request("POST", path, msgspec.json.encode(body))

    def _read(self, content: bytes, kind: type[_T], path: str) -> _T:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as error:
            raise self._unknown(path, str(error)) from error

    def _unknown(self, path: str, why: str) -> ModelRequestFailed:
        return ModelRequestFailed(
            f"the engine at {self.url} gave an unknown answer to {path}: {why}",
            status=200,
            hint="is it an engine of this version of agentrt?",
        )
