"""A live engine during a replay: turns, hints, an empty cache."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx2
import msgspec
from opentelemetry import propagate

from agentrt.errors import ModelRequestFailed
from agentrt.replay.live.address import EngineAddress
from agentrt.replay.live.facts import EngineFacts
from agentrt.replay.live.probe import PROBE_S, QUICK_S, probe
from agentrt.replay.live.sse import events
from agentrt.replay.live.tokens import DEFAULT_VOCABULARY, TokenSource, usable_ids
from agentrt.replay.live.wire import Answer, RequestFailed, TurnRequest, WireProtocol
from agentrt_engine.loopback import is_loopback
from agentrt_engine.wire.authorization import bearer
from agentrt_engine.wire.hints import HINTS_PATH, Hint
from agentrt_engine.wire.identity import ProgramTag

DEFAULT_TIMEOUT_S = 1800.0
_WARM_UP_TOKENS = (256, 16)
_FLUSH_S = 30.0


@dataclass(frozen=True, slots=True)
class Timed:
    """An answer and when it came, seconds of the event loop's clock."""

    answer: Answer
    first_s: float
    end_s: float


class LiveEngine:
    """One engine, over as many connections as there are requests in flight. Nothing is retried.

    Attributes:
        facts: what it is; replaceable, for a name that tells it apart.
        ids: token ids that prompts may have.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        facts: EngineFacts,
        wire: WireProtocol,
        *,
        ids: range,
        timeout_s: float,
    ) -> None:
        self.facts = facts
        self.ids = ids
        self._http = http
        self._wire = wire
        self._timeout_s = timeout_s

    async def turn(
        self, request: TurnRequest, *, on_first_token: Callable[[], None] = lambda: None
    ) -> Timed:
        """One turn of a program.

        Args:
            on_first_token: called when the prompt has been computed.

        Raises:
            RequestFailed: the engine refused it, broke off, or took longer than the timeout.
        """
        try:
            with anyio.fail_after(self._timeout_s):
                return await self._turn(request, on_first_token)
        except TimeoutError:
            raise RequestFailed(f"no whole answer within {self._timeout_s:g} s") from None
        except msgspec.DecodeError as error:
            raise RequestFailed(f"an answer that was not understood: {error}") from error
        except httpx2.TransportError as error:
            raise RequestFailed(f"{type(error).__name__} {error}".rstrip()) from error

    async def _turn(self, request: TurnRequest, on_first_token: Callable[[], None]) -> Timed:
        reader = self._wire.reader()
        headers = {"Content-Type": "application/json", **request.tag.headers(request.request_id)}
        propagate.inject(headers)
        body = msgspec.json.encode(self._wire.body(request))
        first_s: float | None = None
        async with self._http.stream(
            "POST", self._wire.path, content=body, headers=headers
        ) as response:
            async for data in events(response):
                if reader.feed(data) and first_s is None:
                    first_s = anyio.current_time()
                    on_first_token()
        end_s = anyio.current_time()
        return Timed(reader.answer(), end_s if first_s is None else first_s, end_s)

    async def hint(self, hint: Hint) -> bool:
        """Tell the engine something of a program; returns whether it was taken."""
        try:
            response = await self._http.post(
                HINTS_PATH,
                content=msgspec.json.encode(hint),
                headers={"Content-Type": "application/json"},
                timeout=QUICK_S,
            )
        except httpx2.TransportError:
            return False
        return response.status_code == httpx2.codes.OK

    async def flush(self) -> bool:
        """Empty the cache; returns whether the engine did."""
        try:
            response = await self._http.post(
                "/flush_cache", params={"timeout": _FLUSH_S}, timeout=_FLUSH_S + QUICK_S
            )
        except httpx2.TransportError:
            return False
        return response.status_code == httpx2.codes.OK

    async def warm_up(self) -> None:
        """One request that is not measured.

        Raises:
            ModelRequestFailed: it failed.
        """
        prompt, output = _WARM_UP_TOKENS
        if self.facts.largest_turn is not None:
            prompt = max(1, min(prompt, self.facts.largest_turn - output))
        tokens = TokenSource([], "warm-up", self.ids).draw(self.facts.name, prompt)
        name = f"agentrt-warm-up.{secrets.token_hex(4)}"
        try:
            await self.turn(TurnRequest(tokens, output, ProgramTag(name, final=True), name))
        except RequestFailed as error:
            raise ModelRequestFailed(
                f"the engine at {self.facts.url} failed at the warm-up request: {error}",
                status=httpx2.codes.INTERNAL_SERVER_ERROR,
                hint="see the log of the engine",
            ) from error


@asynccontextmanager
async def open_engine(
    address: EngineAddress,
    *,
    model: str | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    vocabulary: int = DEFAULT_VOCABULARY,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> AsyncIterator[LiveEngine]:
    """Connect to an engine and find out what it is.

    Args:
        model: name for requests; None: the first of its list.
        timeout_s: for each request, its wait in the engine's queue included.
        vocabulary: tokens of the model's vocabulary at least.
        transport: another way to the engine than a socket.

    Raises:
        EngineUnreachable, ModelRequestFailed, ReplayError: as `probe`.
    """
    ids = usable_ids(vocabulary)
    async with httpx2.AsyncClient(
        base_url=address.url,
        headers=bearer(address.key),
        timeout=httpx2.Timeout(None, connect=QUICK_S),
        # The engine queues, not the client. Idle connections are dropped before the 5 s after
        # which common servers close them, so that no request meets a closing one.
        limits=httpx2.Limits(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=2.0
        ),
        # A proxy from the environment is never meant for an engine on this machine.
        trust_env=not is_loopback(httpx2.URL(address.url).host),
        transport=transport,
    ) as http:
        prompt = TokenSource([], "probe", ids).draw("probe", 8)
        try:
            with anyio.fail_after(PROBE_S):
                facts, wire = await probe(http, address, model=model, prompt=prompt)
        except TimeoutError as error:
            raise ModelRequestFailed(
                f"the engine at {address.url} gave no two tokens within {PROBE_S:g} s",
                status=httpx2.codes.GATEWAY_TIMEOUT,
                hint="see the log of the engine",
            ) from error
        yield LiveEngine(http, facts, wire, ids=ids, timeout_s=timeout_s)
