"""Answers that say no, in the form of OpenAI's errors, which every client can show."""

from __future__ import annotations

from typing import Any

import msgspec

from agentrt_engine.errors import AgentrtError
from agentrt_engine.sglang.http.scope import Message, Send


class Refusal(AgentrtError):
    """A request that is not served.

    Args:
        status: of the answer.
        message: what was found and what was expected.
        code: a word for programs.
        param: the field at fault.
    """

    def __init__(self, status: int, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param

    def body(self) -> bytes:
        """The answer as JSON."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error: dict[str, Any] = {"message": str(self), "type": kind}
        return msgspec.json.encode({"error": error | {"param": self.param, "code": self.code}})


async def send_refusal(refusal: Refusal, send: Send) -> None:
    """Answer a request from within a middleware."""
    body = refusal.body()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    start: Message = {"type": "http.response.start", "status": refusal.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
