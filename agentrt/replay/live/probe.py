"""Finding out what an engine is and which protocol it speaks."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import TypeVar

import httpx2
import msgspec

from agentrt.errors import EngineUnreachable, ModelRequestFailed, ReplayError
from agentrt.replay.live.address import EngineAddress
from agentrt.replay.live.completions import Extensions, OpenAICompletions
from agentrt.replay.live.facts import EngineFacts, default_name
from agentrt.replay.live.generate import SglangGenerate
from agentrt.replay.live.sse import events
from agentrt.replay.live.wire import Answer, RequestFailed, TurnRequest, WireProtocol
from agentrt.text import excerpt
from agentrt_engine.wire.identity import ProgramTag
from agentrt_engine.wire.info import INFO_PATH, EngineInfo, decode_info

#: For answers that need no model.
QUICK_S = 10.0
#: For the first request of a model, which may compile kernels.
PROBE_S = 300.0
_PROMPT_TOKENS = 8

_Answer = TypeVar("_Answer")


class _Card(msgspec.Struct):
    id: str
    owned_by: str = ""
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Card]


class _ServerInfo(msgspec.Struct):
    """What SGLang says of itself; sizes that it worked out are of each scheduler."""

    version: str | None = None
    context_length: int | None = None
    max_total_num_tokens: int | None = None


class _Version(msgspec.Struct):
    version: str


async def probe(
    http: httpx2.AsyncClient, address: EngineAddress, *, model: str | None, prompt: Sequence[int]
) -> tuple[EngineFacts, WireProtocol]:
    """Ask an engine what it is, and for two tokens in every protocol until one works.

    Args:
        model: name for requests; None: the first of its list.
        prompt: a few token ids.

    Raises:
        EngineUnreachable: nothing answers, or something that is not an engine.
        ModelRequestFailed: the engine refuses the key, or prompts of token ids.
        ReplayError: the engine has no such model.
    """
    card = _chosen(await _models(http, address.url), model, address.url)
    info = decode_info(await _content(http, INFO_PATH))
    server = await _get(http, "/server_info", _ServerInfo)
    server = server or await _get(http, "/get_server_info", _ServerInfo)
    version = await _get(http, "/version", _Version)
    wire, answer = await _protocol(http, address.url, card, prompt[:_PROMPT_TOKENS])
    facts = EngineFacts(
        name=address.name or default_name(address.url, card.owned_by, info),
        url=address.url,
        model=card.id,
        owner=card.owned_by,
        version=(server and server.version) or (version and version.version) or None,
        protocol=wire.name,
        info=info,
        context_tokens=card.max_model_len or (server and server.context_length) or None,
        kv_tokens=_kv_tokens(info, server),
        returns_ids=answer.output_ids is not None,
        exact_length=not isinstance(wire, OpenAICompletions) or wire.extensions.exact_length,
    )
    return facts, wire


async def ask(http: httpx2.AsyncClient, wire: WireProtocol, request: TurnRequest) -> Answer:
    """One request to its end.

    Raises:
        RequestFailed: it was refused, or its answer broke off or was not understood.
        httpx2.TransportError: the connection failed.
    """
    reader = wire.reader()
    headers = request.tag.headers(request.request_id)
    async with http.stream("POST", wire.path, json=wire.body(request), headers=headers) as answer:
        async for data in events(answer):
            try:
                reader.feed(data)
            except msgspec.DecodeError as error:
                raise RequestFailed(f"an event that was not understood: {error}") from error
    return reader.answer()


async def _models(http: httpx2.AsyncClient, url: str) -> list[_Card]:
    try:
        response = await http.get("/v1/models", timeout=QUICK_S)
    except httpx2.TransportError as error:
        raise EngineUnreachable(
            f"no engine answers at {url}: {type(error).__name__} {error}".rstrip(),
            hint="start one with `agentrt serve`, or give the URL of a running one",
        ) from error
    if response.status_code in (401, 403):
        raise ModelRequestFailed(
            f"the engine at {url} answered HTTP {response.status_code}: {excerpt(response.text)}",
            status=response.status_code,
            hint="give its key with --engine-key or AGENTRT_API_KEY",
        )
    try:
        cards = msgspec.json.decode(response.content, type=_Models).data
    except msgspec.DecodeError:
        cards = []
    if not cards:
        raise EngineUnreachable(
            f"{url} answers, but GET /v1/models gave no list of models: {excerpt(response.text)}",
            hint="give the URL of an OpenAI-compatible engine",
        )
    return cards


def _chosen(cards: Sequence[_Card], model: str | None, url: str) -> _Card:
    for card in cards:
        if model in (None, card.id):
            return card
    raise ReplayError(
        f"--model {model}: the engine at {url} has no such model",
        hint=f"it has {', '.join(card.id for card in cards)}",
    )


async def _content(http: httpx2.AsyncClient, path: str) -> bytes:
    """The body of a GET, empty where there is none."""
    try:
        response = await http.get(path, timeout=QUICK_S)
    except httpx2.TransportError:
        return b""
    return response.content if response.status_code == httpx2.codes.OK else b""


async def _get(http: httpx2.AsyncClient, path: str, type: type[_Answer]) -> _Answer | None:
    """The object that a GET answers; None for anything else."""
    try:
        return msgspec.json.decode(await _content(http, path), type=type)
    except msgspec.DecodeError:
        return None


async def _protocol(
    http: httpx2.AsyncClient, url: str, card: _Card, prompt: Sequence[int]
) -> tuple[WireProtocol, Answer]:
    """The first protocol in which the engine answers."""
    # Nobody else who asks at the same time has this id.
    name = f"agentrt-probe.{secrets.token_hex(4)}"
    request = TurnRequest(list(prompt), 2, ProgramTag(name, final=True), name)
    refusals: list[str] = []
    for wire in _candidates(card):
        try:
            return wire, await ask(http, wire, request)
        except RequestFailed as refusal:
            refusals.append(str(refusal))
        except httpx2.TransportError as error:
            raise EngineUnreachable(
                f"the engine at {url} went away when asked for two tokens: "
                f"{type(error).__name__} {error}".rstrip(),
                hint="see the log of the engine",
            ) from error
    raise ModelRequestFailed(
        f"the engine at {url} takes no prompt of token ids: {refusals[-1]}",
        status=httpx2.codes.BAD_REQUEST,
        hint="a live replay needs /generate of SGLang, or /v1/completions with a list of ids; for "
        "a vocabulary below 32,000 give --vocab",
    )


def _candidates(card: _Card) -> Iterator[WireProtocol]:
    """Protocols, what tells most first."""
    if card.owned_by != "vllm":
        yield SglangGenerate()
    sglang = card.owned_by == "sglang"
    for extensions in (
        Extensions(custom_params=sglang),
        Extensions(token_ids=False, custom_params=sglang),
        Extensions(token_ids=False, session=False),
        Extensions(exact_length=False, token_ids=False, session=False),
    ):
        yield OpenAICompletions(card.id, extensions)


def _kv_tokens(info: EngineInfo | None, server: _ServerInfo | None) -> int | None:
    if info is not None:
        return info.kv_tokens
    return server.max_total_num_tokens if server else None
