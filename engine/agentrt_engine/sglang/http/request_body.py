"""The body of a request, up to a limit."""

from __future__ import annotations

from starlette.requests import Request

from agentrt_engine.sglang.http.failures import Refusal


async def read_body(request: Request, most: int) -> bytes:
    """The body.

    Args:
        most: bytes that are read at most, whatever the client declares.

    Raises:
        Refusal: it is longer (413).
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise Refusal(413, f"the body is too long: expected at most {most} bytes", "too_large")
        chunks.append(chunk)
    return b"".join(chunks)
