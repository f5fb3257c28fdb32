"""Hints of all kinds, good and bad, and polls, for a soak."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import msgspec
from soak_traffic import SERVED, Traffic

from agentrt_engine.wire.hints import HINTS_PATH, MAX_BYTES, MAX_HINTS, HintKind
from agentrt_engine.wire.programs import PROGRAMS_PATH

_REFUSED = frozenset([400])

#: Bodies of hints that are to be refused with 400.
_BAD: tuple[Callable[[random.Random], bytes], ...] = (
    lambda rng: rng.randbytes(rng.randrange(1, 200)),
    lambda rng: b"",
    lambda rng: b'{"program_id": "a", "kind": "ended"',
    lambda rng: b"[" * 100_000,
    lambda rng: b'{"program_id": 5, "kind": "ended"}',
    lambda rng: b'{"program_id": "a", "kind": ["ended"]}',
    lambda rng: b'{"program_id": "a", "kind": "no such kind"}',
    lambda rng: b'{"program_id": "a", "kind": "ended", "extra": 1}',
    lambda rng: b'{"program_id": "a", "kind": "tool_progress", "progress": -1}',
    lambda rng: b'{"program_id": "a", "kind": "priority", "priority": 1e999}',
    lambda rng: b'{"program_id": "a", "kind": "remaining", "remaining_turns": 1.5}',
    lambda rng: b'{"program_id": "a", "kind": "pin", "ttl_s": NaN}',
    lambda rng: b'{"program_id": "a\\u0000", "kind": "ended"}',
    lambda rng: b'{"program_id": "' + b"x" * 1_000 + b'", "kind": "ended"}',
    lambda rng: b'{"program_id": "a", "kind": "tool_started", "expected_s": {"2": 1}}',
    lambda rng: b'{"program_id": "a", "kind": "tool_started", "expected_s": {"nan": 1}}',
    lambda rng: b"[" + b",".join([b'{"program_id": "a", "kind": "ended"}'] * 257) + b"]",
    lambda rng: b'{"protocol_version": 1, "actions": 3}',
    lambda rng: b'{"actions": [{"action_id": "1", "action_type": "Explode", "payload": {}}]}',
    lambda rng: b"null",
    lambda rng: b"3",
    lambda rng: '{"program_id": "\ud800"}'.encode("utf-8", "surrogatepass"),
)


class Storm:
    """Sends hints and polls until it is called off."""

    def __init__(self, traffic: Traffic, seed: int) -> None:
        self._traffic = traffic
        self._journal = traffic.journal
        self._rng = random.Random(f"{seed}/storm")

    async def run(self) -> None:
        """One request after the other, with short pauses."""
        kinds = [self._good] * 8 + [self._bad] * 3
        kinds += [self._strange_program, self._envelope, self._oversized, self._wrong_key]
        kinds += [self._poll, self._poll, self._odd_request, self._flush]
        async with self._traffic.client(None) as client:
            while True:
                await self._rng.choice(kinds)(client)
                await anyio.sleep(self._rng.random() * 0.05)

    async def _good(self, client: httpx2.AsyncClient) -> None:
        """Hints of the programs' own clients."""
        programs = [each for each in self._traffic.recent if each.named != "nowhere"]
        if not programs:
            return
        key = self._rng.choice(programs).key
        mine = [each.program_id for each in programs if each.key == key]
        count = self._rng.choice((1, 1, 1, 3, 20))
        hints = [self._hint(self._rng.choice(mine)) for _ in range(count)]
        response = await self._send(client, key, msgspec.json.encode(hints), "hints", SERVED)
        if response is not None and len(response.json()) != count:
            self._journal.defect(f"hints: {count} sent, answer {response.text[:300]}")
        if response is not None:
            for outcome in response.json():
                self._journal.note("outcome of a hint", outcome["outcome"])

    def _hint(self, program_id: str) -> dict[str, Any]:
        rng = self._rng
        kind = rng.choice([*HintKind, HintKind.TOOL_STARTED, HintKind.TOOL_FINISHED])
        if kind is HintKind.ENDED and rng.random() < 0.7:
            kind = HintKind.PIN
        hint: dict[str, Any] = {"program_id": program_id, "kind": kind.value}
        match kind:
            case HintKind.TOOL_STARTED:
                hint["tool"] = rng.choice(("bash", "search", "compile"))
                if rng.random() < 0.5:
                    median = rng.random() * 5
                    hint["expected_s"] = {"0.5": median, "0.95": median * rng.choice((1, 5, 100))}
                if rng.random() < 0.3:
                    hint["call_id"] = f"call-{rng.randrange(3)}"
            case HintKind.TOOL_FINISHED:
                hint["outcome"] = rng.choice(("finished", "failed", "timed_out", "cancelled"))
            case HintKind.TOOL_PROGRESS:
                hint["progress"] = rng.choice((1e-300, 0.3, 1.0))
            case HintKind.REMAINING:
                hint["remaining_turns"] = rng.choice((0, 3, 1_000_000))
                hint["remaining_s"] = rng.choice((0.0, 1.0, 1e6))
            case HintKind.PRIORITY:
                hint["priority"] = rng.choice((-1e9, -1.0, 0, 5, 1e9))
            case HintKind.PIN:
                hint["ttl_s"] = rng.choice((0, 0.5, 5, 1e6))
        return hint

    async def _strange_program(self, client: httpx2.AsyncClient) -> None:
        """Programs that nobody knows, or of the other key: unknown, both."""
        key = self._rng.choice(self._traffic.keys)
        others = [each.program_id for each in self._traffic.recent if each.key != key]
        program_id = self._rng.choice(["nobody", *others[-5:]])
        body = msgspec.json.encode(self._hint(program_id))
        response = await self._send(client, key, body, "strange hints", SERVED)
        if response is not None and response.json()[0]["outcome"] != "rejected":
            self._journal.defect(f"hint for a program of another key: {response.text[:300]}")

    async def _envelope(self, client: httpx2.AsyncClient) -> None:
        if not self._traffic.recent:
            return
        program = self._rng.choice(self._traffic.recent)
        actions = [
            {
                "action_id": f"{at}",
                "action_type": self._rng.choice(("Share", "Prefetch", "Demote", "Pin", "Retain")),
                "action_version": 1,
                "payload": {"session_id": program.program_id, "ttl_ms": self._rng.choice((1, 1e4))},
            }
            for at in range(self._rng.randrange(1, 4))
        ]
        body = {"protocol_version": 1, "message_id": "m", "actions": actions}
        content = msgspec.json.encode(body)
        await self._send(client, program.key, content, "kv_hints envelope", SERVED)

    async def _bad(self, client: httpx2.AsyncClient) -> None:
        make = self._rng.choice(_BAD)
        key = self._rng.choice(self._traffic.keys)
        await self._send(client, key, make(self._rng), "malformed hints", _REFUSED)

    async def _oversized(self, client: httpx2.AsyncClient) -> None:
        body = b" " * (MAX_BYTES + self._rng.choice((1, MAX_BYTES)))
        key = self._rng.choice(self._traffic.keys)
        await self._send(client, key, body, "oversized hints", frozenset([413]))

    async def _wrong_key(self, client: httpx2.AsyncClient) -> None:
        path = self._rng.choice((HINTS_PATH, PROGRAMS_PATH, "/metrics", "/generate"))
        key = self._rng.choice(("wrong", None))
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        method = "POST" if path in (HINTS_PATH, "/generate") else "GET"
        response = await client.request(method, path, headers=headers, content=None)
        self._journal.answered("wrong key", response, frozenset([401]))

    async def _poll(self, client: httpx2.AsyncClient) -> None:
        key = self._rng.choice(self._traffic.keys)
        headers = {"Authorization": f"Bearer {key}"}
        path, allowed = self._rng.choice(
            (
                ("/metrics", SERVED),
                (PROGRAMS_PATH, SERVED),
                (f"{PROGRAMS_PATH}?limit=0", SERVED),
                (f"{PROGRAMS_PATH}?limit=x", _REFUSED),
                (f"{PROGRAMS_PATH}?limit=99999999999", _REFUSED),
            )
        )
        response = await client.get(path, headers=headers)
        self._journal.answered(path, response, allowed)

    async def _odd_request(self, client: httpx2.AsyncClient) -> None:
        """Bodies that SGLang refuses itself, on their way past our middlewares."""
        key = self._rng.choice(self._traffic.keys)
        headers = {"Authorization": f"Bearer {key}", "content-type": "application/json"}
        path = self._rng.choice(("/generate", "/v1/completions", "/v1/chat/completions"))
        # No list among them: SGLang's chat route answers one with 500, without us as well.
        body = self._rng.choice((b"", b"{", b'{"messages": 3, "session_id": [1]}', b"\xff"))
        response = await client.post(path, headers=headers, content=body)
        self._journal.answered("odd request", response, frozenset([400, 422]))

    async def _flush(self, client: httpx2.AsyncClient) -> None:
        """Succeeds only when nothing runs or waits."""
        if self._rng.random() < 0.7:
            return
        headers = {"Authorization": f"Bearer {self._traffic.keys[0]}"}
        response = await client.post("/flush_cache", headers=headers)
        self._journal.answered("/flush_cache", response, frozenset([200, 400]))

    async def _send(
        self,
        client: httpx2.AsyncClient,
        key: str,
        body: bytes,
        kind: str,
        allowed: frozenset[int],
    ) -> httpx2.Response | None:
        """The answer, where it was an allowed 200."""
        headers = {"Authorization": f"Bearer {key}"}
        try:
            response = await client.post(HINTS_PATH, headers=headers, content=body)
        except httpx2.TransportError as error:
            if len(body) <= MAX_BYTES:
                raise
            # The engine answered and hung up before it had read it all.
            self._journal.note(kind, type(error).__name__)
            return None
        self._journal.answered(kind, response, allowed)
        return response if response.status_code == httpx2.codes.OK else None


assert MAX_HINTS < 257, "one of the malformed bodies has to have too many hints"
