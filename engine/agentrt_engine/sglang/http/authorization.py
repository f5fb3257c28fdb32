"""Lets a request in if it bears one of the keys.

SGLang knows a single key and leaves `/metrics` open, so this comes before its own check and
hands it the key that it knows.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentrt_engine.sglang.http.failures import Refusal, send_refusal
from agentrt_engine.sglang.http.scope import (
    App,
    Receive,
    Scope,
    Send,
    headers_of,
    path_of,
    with_headers,
    with_owner,
)
from agentrt_engine.wire.authorization import borne_key, short_name

#: Probes of an orchestrator bear no key.
_FREE = ("/health", "/ready")


class AuthorizationMiddleware:
    """Checks keys and notes whose request it is.

    Args:
        keys: any of them opens the engine; the first is the one SGLang runs with.
        admin_key: SGLang's key for administration, which it checks itself; None: none.
    """

    def __init__(self, app: App, keys: Sequence[str], admin_key: str | None = None) -> None:
        self._app = app
        self._keys = keys
        self._admin_key = admin_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if not self._keys or scope["type"] == "lifespan" or _is_free(scope):
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        if key := borne_key(headers, self._keys):
            inner = with_headers(scope, authorization=f"Bearer {self._keys[0]}", x_api_key=None)
            await self._app(with_owner(inner, short_name(key)), receive, send)
        elif self._admin_key and borne_key(headers, [self._admin_key]):
            await self._app(with_owner(scope, short_name(self._admin_key)), receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send_refusal(
                Refusal(
                    401,
                    "the request bears none of the keys of this engine: expected the header "
                    "Authorization: Bearer KEY, or x-api-key: KEY",
                    "invalid_api_key",
                ),
                send,
            )


def _is_free(scope: Scope) -> bool:
    """A probe, or a browser's question before a request, which never bears a key."""
    if scope["type"] != "http":
        return False
    if scope["method"] == "OPTIONS":
        return "access-control-request-method" in headers_of(scope)
    return path_of(scope).startswith(_FREE)
