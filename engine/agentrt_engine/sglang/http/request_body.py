"""The body of a request, up to a limit."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from agentrt_engine.sglang.http.failures import Refusal


async def read_body(request: Request, most: int) -> bytes:
    """The body.

    Args:
        most: bytes that are read at most, whatever the client declares.

    Raises:
        Refusal: it is longer (413), or the client hung up before its end (400, for the log).
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                message = f"the body is too long: expected at most {most} bytes"
                raise Refusal(413, message, "too_large")
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise Refusal(400, "the client hung up before the end of its body", "hung_up") from error
    return b"".join(chunks)
