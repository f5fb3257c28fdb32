"""What a server is, and which of its interfaces takes token ids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from agentrt.calibrate.http_target import HttpTarget
from agentrt.calibrate.target import Prompt, ServerFacts
from agentrt.client import EngineClient
from agentrt.endpoint import Endpoint
from agentrt.errors import CalibrationError, ModelRequestFailed, SettingError

#: Token ids from, and up to: of a usual vocabulary without its special tokens, then of small ones.
_VOCABULARIES = ((1000, 30_000), (300, 1000), (20, 100))

_GIB = 1 << 30


class _MemoryUsage(msgspec.Struct):
    kvcache: float = 0.0
    token_capacity: int = 0


class _InternalState(msgspec.Struct):
    memory_usage: _MemoryUsage = msgspec.field(default_factory=_MemoryUsage)
    effective_max_running_requests_per_dp: int | None = None


class _ServerInfo(msgspec.Struct):
    """`GET /server_info` of SGLang."""

    version: str = ""
    device: str = ""
    tp_size: int = 1
    max_total_num_tokens: int | None = None
    max_req_input_len: int | None = None
    chunked_prefill_size: int | None = None
    internal_states: list[_InternalState] = []


class _Model(msgspec.Struct):
    id: str
    owned_by: str = ""
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


@asynccontextmanager
async def connected(
    url: str, key: str | None, model: str | None
) -> AsyncIterator[tuple[HttpTarget, ServerFacts]]:
    """A server that answers and takes token ids.

    Raises:
        EngineUnreachable, ModelRequestFailed: nothing answers, or it refuses the key.
        SettingError: it does not serve this model.
        CalibrationError: it takes no token ids.
    """
    async with EngineClient(url, api_key=key) as client:
        endpoint = await client.discover()
    async with HttpTarget(endpoint.url, key, model or endpoint.model) as target:
        models = await _models(target)
        if model is not None and model not in models:
            raise SettingError(
                f"--model {model}: {endpoint.url} serves {', '.join(models)}",
                hint="leave it out for the first of them",
            )
        vocabulary = await _vocabulary(target)
        info = await _server_info(target)
        yield target, _facts(endpoint, models.get(target.model), info, target.model, vocabulary)


async def _models(target: HttpTarget) -> dict[str, _Model]:
    body = await target.get("/v1/models")
    try:
        return {model.id: model for model in msgspec.json.decode(body or b"", type=_Models).data}
    except msgspec.DecodeError:
        return {}


async def _server_info(target: HttpTarget) -> _ServerInfo:
    body = await target.get("/server_info") or await target.get("/get_server_info")
    try:
        return msgspec.json.decode(body or b"{}", type=_ServerInfo)
    except msgspec.DecodeError:
        return _ServerInfo()


async def _vocabulary(target: HttpTarget) -> tuple[int, int]:
    """Ids that the server accepts; also finds out which interface it has."""
    for native in (True, False):
        target.native = native
        for first, end in _VOCABULARIES:
            prompt = Prompt(list(range(end - 4, end)), 1, "agentrt-calibrate-probe")
            try:
                await target.run([prompt])
            except ModelRequestFailed as error:
                refusal = error
                if error.status in (401, 403, 404, 405):
                    break
            else:
                return first, end
    raise CalibrationError(
        f"{target.url} takes no prompts of token ids at /generate or /v1/completions: {refusal}",
        hint="calibrate the engine itself, not a gateway in front of it",
    )


def _facts(
    endpoint: Endpoint,
    model: _Model | None,
    info: _ServerInfo,
    name: str,
    vocabulary: tuple[int, int],
) -> ServerFacts:
    plugin = endpoint.info
    state = info.internal_states[0] if info.internal_states else _InternalState()
    memory = state.memory_usage
    per_token = None
    # Reported to three decimals: below this the rounding would show.
    if memory.token_capacity and memory.kvcache >= 0.05:
        per_token = memory.kvcache * _GIB / memory.token_capacity * info.tp_size
    owner = (model.owned_by if model else "") or "an unknown engine"
    chunk = info.chunked_prefill_size
    return ServerFacts(
        url=endpoint.url,
        model=name,
        title=f"{name} on {info.device}" if info.device else name,
        engine=f"{owner} {info.version}".strip(),
        kv_tokens=plugin.kv_tokens if plugin else info.max_total_num_tokens,
        kv_bytes_per_token=per_token,
        context_tokens=info.max_req_input_len or (model.max_model_len if model else None),
        max_running=(plugin.max_running if plugin else state.effective_max_running_requests_per_dp),
        chunk_tokens=chunk if chunk and chunk > 0 else None,
        vocabulary=vocabulary,
    )
