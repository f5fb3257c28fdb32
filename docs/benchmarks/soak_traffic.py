"""Random programs for a soak: turns, disconnects, aborts, parallel turns, ends, odd requests.

Everything is drawn from one seed. Each request notes what it was and how it was answered; an
answer that was not allowed for it is a defect.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import msgspec

from agentrt_engine.wire.authorization import bearer
from agentrt_engine.wire.hints import HINTS_PATH
from agentrt_engine.wire.identity import FINAL, PARENT_ID, PROGRAM_ID

#: Token ids of ordinary words.
VOCABULARY = range(1_000, 49_000)
WORDS = ("cache", "agent", "tool", "radix", "lease", "turn", "page", "queue", "token", "model")

#: Beyond the context of the model.
TOO_LONG = 9_000

#: Defects noted; more of them say nothing new.
MAX_DEFECTS = 50

#: What a request that was let run may be answered with.
SERVED = frozenset([200])


@dataclass
class Journal:
    """What was sent and how it was answered.

    Attributes:
        answers: by kind of request and status, or what the client did to it.
        slowest_s: the longest that an answer took, by kind of request.
        defects: what must not happen.
    """

    answers: dict[str, Counter[str]] = field(default_factory=dict)
    slowest_s: dict[str, float] = field(default_factory=dict)
    defects: list[str] = field(default_factory=list)

    def note(self, kind: str, what: str) -> None:
        """Count an answer."""
        self.answers.setdefault(kind, Counter())[what] += 1

    def defect(self, text: str) -> None:
        """Note something that must not happen."""
        if len(self.defects) < MAX_DEFECTS:
            self.defects.append(text[:1_000])

    def answered(self, kind: str, response: httpx2.Response, allowed: frozenset[int]) -> None:
        """Count an answer whose body was read, and check its status."""
        self.note(kind, str(response.status_code))
        seconds = round(response.elapsed.total_seconds(), 2)
        self.slowest_s[kind] = max(seconds, self.slowest_s.get(kind, 0.0))
        if response.status_code not in allowed:
            self.defect(f"{kind}: status {response.status_code}: {response.text[:300]}")


@dataclass(slots=True)
class SoakProgram:
    """A program as its client sees it.

    Attributes:
        named: where its id is sent: header, session_id or nowhere.
        tokens: context of one that speaks token ids; messages: of one that speaks chat.
    """

    program_id: str
    key: str
    path: str
    named: str
    tokens: list[int] = field(default_factory=list)
    messages: list[dict[str, str]] = field(default_factory=list)


class Traffic:
    """Clients of one engine.

    Args:
        keys: the engine's API keys.
        seed: of everything that is drawn.
        most_tokens: longest context of a program; it ends before it grows beyond it.
    """

    def __init__(self, url: str, keys: list[str], seed: int, most_tokens: int) -> None:
        self.url = url
        self.keys = keys
        self.journal = Journal()
        #: Programs that may be alive, the latest last.
        self.recent: deque[SoakProgram] = deque(maxlen=40)
        self._seed = seed
        self._most_tokens = most_tokens
        self._serial = itertools.count()
        rng = random.Random(f"{seed}/shared")
        self._shared = [random_tokens(rng, 64) for _ in range(4)]
        self._systems = [words(rng, 40) for _ in range(4)]

    async def run(self, seconds: float, clients: int, epoch: int) -> None:
        """Let the clients run for that time; each ends with the turn it is at."""
        deadline = anyio.current_time() + seconds
        async with anyio.create_task_group() as group:
            for client in range(clients):
                group.start_soon(self._client, deadline, f"{self._seed}/{epoch}/{client}")

    def client(self, key: str | None, timeout_s: float = 300.0) -> httpx2.AsyncClient:
        """A connection of its own to the engine."""
        return httpx2.AsyncClient(base_url=self.url, headers=bearer(key), timeout=timeout_s)

    async def _client(self, deadline: float, seed: str) -> None:
        rng = random.Random(seed)
        while anyio.current_time() < deadline:
            program = self._new(rng)
            self.recent.append(program)
            async with self.client(program.key) as client:
                for turn in range(rng.choice((1, 2, 3, 4, 6))):
                    await self._turn(client, program, rng, first=turn == 0)
                    await anyio.sleep(rng.choice((0.0, 0.05, 0.3, 1.0)) * rng.random())
                    if anyio.current_time() > deadline:
                        break
                await self._end(client, program, rng)

    def _new(self, rng: random.Random) -> SoakProgram:
        path = rng.choice(("/generate", "/generate", "/v1/completions", "/v1/chat/completions"))
        program = SoakProgram(
            f"soak-{self._seed}-{next(self._serial)}",
            rng.choice(self.keys),
            path,
            rng.choice(("header", "header", "session_id", "nowhere")),
        )
        shared = rng.random() < 0.7
        if path == "/v1/chat/completions":
            system = rng.choice(self._systems) if shared else words(rng, 30)
            program.messages.append({"role": "system", "content": system})
        else:
            program.tokens += rng.choice(self._shared) if shared else random_tokens(rng, 40)
        return program

    # A turn.

    async def _turn(
        self, client: httpx2.AsyncClient, program: SoakProgram, rng: random.Random, *, first: bool
    ) -> None:
        size = rng.randrange(100, 250) if first else rng.randrange(5, 80)
        if program.messages:
            text = words(rng, size // 2)
            program.messages.append({"role": "user", "content": text})
        else:
            program.tokens += random_tokens(rng, size)
        if len(program.tokens) > self._most_tokens or len(program.messages) > 8:
            return
        fates = ["whole"] * 14 + ["stream"] * 8
        fates += ["hangs up early", "hangs up", "abort", "parallel"] * 2
        fates += ["two samples", "too long"]
        fate = rng.choice(fates)
        body = self._body(program, rng)
        headers = self._headers(program, rng)
        match fate:
            case "whole":
                await self._whole(client, program, body, headers)
            case "stream" | "hangs up":
                events = rng.randrange(1, 8) if fate == "hangs up" else None
                await self._stream(client, program, body, headers, events)
            case "hangs up early":
                with anyio.move_on_after(rng.random() * 0.5) as scope:
                    await self._whole(client, program, body, headers)
                if scope.cancelled_caught:
                    self.journal.note(f"{program.path} hung up early", "-")
            case "abort":
                await self._aborted(client, program, body, headers, rng)
            case "parallel":
                async with anyio.create_task_group() as group:
                    for _ in range(rng.choice((2, 3))):
                        other = self._body(program, rng)
                        group.start_soon(self._whole, client, program, other, headers)
            case "two samples":
                await self._two_samples(client, program, body, headers)
            case "too long":
                await self._too_long(client, program, body, headers)

    def _headers(self, program: SoakProgram, rng: random.Random) -> dict[str, str]:
        headers: dict[str, str] = {}
        if program.named == "header":
            headers[PROGRAM_ID] = program.program_id
            if self.recent and rng.random() < 0.1:
                headers[PARENT_ID] = rng.choice(self.recent).program_id
        elif rng.random() < 0.1:  # no names
            headers[PROGRAM_ID] = rng.choice(("", "x" * 5_000))
        if rng.random() < 0.05:
            headers[FINAL] = "true"
        return headers

    def _body(self, program: SoakProgram, rng: random.Random) -> dict[str, Any]:
        """A request for the next turn."""
        most = rng.choice((1, 4, 12, 24, 96))
        sampling = {"temperature": rng.choice((0.0, 0.0, 0.8)), "ignore_eos": rng.random() < 0.5}
        body: dict[str, Any] = {}
        if program.path == "/generate":
            body["input_ids"] = list(program.tokens)
            body["sampling_params"] = sampling | {"max_new_tokens": most}
        else:
            body |= sampling | {"model": "default", "max_tokens": most}
            if program.messages:
                body["messages"] = list(program.messages)
            else:
                body["prompt"] = list(program.tokens)
        if program.named == "session_id":
            body["session_id"] = program.program_id
        if rng.random() < 0.1:
            custom: Any = rng.choice(
                ({"agentrt": "nonsense"}, {"agentrt": {"program_id": 5}}, {"other": 1},
                 {"agentrt": {"owner": "someone", "priority": 1e300, "max_turns": -1}})
            )  # fmt: skip
            parameters = body.get("sampling_params", body)
            parameters["custom_params"] = custom
        return body

    async def _whole(
        self,
        client: httpx2.AsyncClient,
        program: SoakProgram,
        body: dict[str, Any],
        headers: dict[str, str],
    ) -> None:
        response = await client.post(program.path, json=body, headers=headers)
        self.journal.answered(program.path, response, SERVED)
        if response.status_code != httpx2.codes.OK:
            return
        answer = response.json()
        if program.messages:
            text = answer["choices"][0]["message"]["content"] or ""
            program.messages.append({"role": "assistant", "content": text})
        elif program.path == "/generate":
            program.tokens = [*body["input_ids"], *answer["output_ids"]]

    async def _stream(
        self,
        client: httpx2.AsyncClient,
        program: SoakProgram,
        body: dict[str, Any],
        headers: dict[str, str],
        events: int | None,
    ) -> None:
        """Read a stream to its end, or hang up after some events."""
        kind = f"{program.path} stream" + ("" if events is None else " hung up")
        stream = client.stream("POST", program.path, json=body | {"stream": True}, headers=headers)
        async with stream as response:
            if response.status_code != httpx2.codes.OK:
                await response.aread()
                self.journal.answered(kind, response, SERVED)
                return
            seen = 0
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                seen += 1
                if line.startswith('data: {"error"'):
                    self.journal.defect(f"{kind}: {line[:300]}")
                if events is not None and seen >= events:
                    break
            else:
                if line.strip() not in ("", "data: [DONE]"):
                    self.journal.defect(f"{kind}: ends with {line[:300]!r}")
        self.journal.note(kind, "200")

    async def _aborted(
        self,
        client: httpx2.AsyncClient,
        program: SoakProgram,
        body: dict[str, Any],
        headers: dict[str, str],
        rng: random.Random,
    ) -> None:
        rid = f"rid-{rng.getrandbits(64):x}"

        async def send() -> None:
            response = await client.post(program.path, json=body | {"rid": rid}, headers=headers)
            # SGLang answers an aborted request with what it has, or says that it was aborted.
            aborted = response.status_code == 503 and "abort" in response.text.lower()
            self.journal.answered(
                f"{program.path} aborted", response, frozenset([200, 503 if aborted else 200])
            )

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.sleep(rng.random() * 0.5)
            response = await client.post("/abort_request", json={"rid": rid})
            self.journal.answered("/abort_request", response, SERVED)

    async def _two_samples(
        self,
        client: httpx2.AsyncClient,
        program: SoakProgram,
        body: dict[str, Any],
        headers: dict[str, str],
    ) -> None:
        body = dict(body)
        if program.path == "/generate":
            body["sampling_params"] = body["sampling_params"] | {"n": 2, "temperature": 0.8}
        else:
            body |= {"n": 2, "temperature": 0.8}
        response = await client.post(program.path, json=body, headers=headers)
        self.journal.answered(f"{program.path} n=2", response, SERVED)
        if response.status_code == httpx2.codes.OK:
            answer = response.json()
            samples = answer if isinstance(answer, list) else answer["choices"]
            if len(samples) != 2:
                self.journal.defect(f"{program.path} n=2: {len(samples)} samples")

    async def _too_long(
        self,
        client: httpx2.AsyncClient,
        program: SoakProgram,
        body: dict[str, Any],
        headers: dict[str, str],
    ) -> None:
        body = dict(body)
        if program.messages:
            body["messages"] = [{"role": "user", "content": " cache" * TOO_LONG}]
        else:
            name = "input_ids" if "input_ids" in body else "prompt"
            body[name] = [VOCABULARY[0]] * TOO_LONG
        response = await client.post(program.path, json=body, headers=headers)
        self.journal.answered(f"{program.path} too long", response, frozenset([400]))

    async def _end(
        self, client: httpx2.AsyncClient, program: SoakProgram, rng: random.Random
    ) -> None:
        match rng.choice(("final", "hint", "session", "nothing")):
            case "final":
                headers = self._headers(program, rng) | {FINAL: "true"}
                await self._whole(client, program, self._body(program, rng), headers)
            case "hint":
                body = msgspec.json.encode({"program_id": program.program_id, "kind": "ended"})
                response = await client.post(HINTS_PATH, content=body)
                self.journal.answered("ended", response, SERVED)
            case "session":
                response = await client.post(
                    "/close_session", json={"session_id": program.program_id}
                )
                self.journal.answered("/close_session", response, SERVED)

    @asynccontextmanager
    async def besides(self, *tasks: Any) -> AsyncIterator[None]:
        """Other clients of this engine, called off when the block ends."""
        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(task)
            yield
            group.cancel_scope.cancel()


def random_tokens(rng: random.Random, count: int) -> list[int]:
    """Tokens that hardly any other prompt has."""
    return [rng.choice(VOCABULARY) for _ in range(count)]


def words(rng: random.Random, count: int) -> str:
    """Some text."""
    return " ".join(rng.choice(WORDS) for _ in range(count))
