"""Which program a request belongs to: from its headers and body to its tokenized form.

The middleware notes what the HTTP request says in a context variable, which every task that
serves the request inherits. SGLang makes each tokenized request, be it streamed, one of n
samples or one of a batch, in `TokenizerManager._create_tokenized_object`; there the tag is put
into `custom_params`, which travels to the scheduler.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from agentrt_engine.sglang.http.body import read_body
from agentrt_engine.sglang.http.scope import (
    App,
    Receive,
    Scope,
    Send,
    headers_of,
    owner_of,
    path_of,
)
from agentrt_engine.wire.body_identity import tag_from_body
from agentrt_engine.wire.identity import (
    CUSTOM_PARAMS_KEY,
    ProgramTag,
    merge,
    tag_from_custom_params,
    tag_from_headers,
)

#: Routes whose bodies are asked for an id that no header gives.
_BODIES = frozenset(
    ["/v1/chat/completions", "/v1/completions", "/generate", "/v1/messages", "/v1/responses"]
)


@dataclass(slots=True)
class Identity:
    """What an HTTP request says of its program.

    Attributes:
        tag: what the scheduler was told; nothing yet before that.
    """

    owner: str
    headers: ProgramTag
    body: ProgramTag | None
    tag: ProgramTag = field(default_factory=ProgramTag)

    def tell(self, client: ProgramTag | None) -> ProgramTag:
        """The tag of one tokenized request, which may bear another in its `custom_params`."""
        self.tag = merge(self.owner, self.headers, client, self.body)
        return self.tag


_current: ContextVar[Identity | None] = ContextVar("agentrt_identity", default=None)


def current_identity() -> Identity | None:
    """Of the HTTP request that is being served; None outside one."""
    return _current.get()


class IdentityMiddleware:
    """Notes the identity of each request."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        tag = tag_from_headers(headers)
        body = None
        if not tag.program_id and _has_body(scope, headers):
            content, receive = await read_body(receive)
            body = tag_from_body(content)
        token = _current.set(Identity(owner_of(scope), tag, body))
        try:
            await self._app(scope, receive, send)
        finally:
            _current.reset(token)


def tag_tokenized(request: Any, *_args: Any, **_kwargs: Any) -> None:
    """Put the tag into a tokenized request, in place of anything a client put there."""
    parameters = request.sampling_params
    identity = _current.get()
    given = parameters.custom_params if isinstance(parameters.custom_params, dict) else {}
    others = {name: value for name, value in given.items() if name != CUSTOM_PARAMS_KEY}
    tag = ProgramTag() if identity is None else identity.tell(tag_from_custom_params(given))
    custom_params = others if tag == ProgramTag() else others | tag.custom_params()
    parameters.custom_params = custom_params or None


def _has_body(scope: Scope, headers: dict[str, str]) -> bool:
    """A packed body is SGLang's to unpack."""
    return (
        scope["method"] == "POST"
        and path_of(scope) in _BODIES
        and headers.get("content-encoding", "identity") == "identity"
    )
