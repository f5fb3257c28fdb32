"""Requests of commands to the routes of our plug-in, under `/agentrt`."""

from __future__ import annotations

from types import TracebackType
from typing import Annotated, Self

import httpx2
from cyclopts import Parameter

from agentrt.client import CONNECT_TIMEOUT_S, EngineClient
from agentrt.embedded import API_KEY_VARIABLE
from agentrt.errors import EngineUnreachable, ModelRequestFailed, PluginInactive
from agentrt.text import excerpt
from agentrt_engine.loopback import is_loopback
from agentrt_engine.wire.authorization import bearer

EngineKey = Annotated[
    str | None,
    Parameter(
        name=["--engine-key", "--key"],
        env_var=API_KEY_VARIABLE,
        help="Key that the engine was started with.",
    ),
]


class EngineApi:
    """One engine with our plug-in; a context manager.

    Args:
        timeout_s: an engine answers between two steps, and a long prefill takes seconds.

    Raises:
        SettingError: the URL is not an HTTP URL.
    """

    def __init__(self, url: str, key: str | None, *, timeout_s: float = 30.0) -> None:
        self.url = EngineClient(url).url
        self._http = httpx2.Client(
            base_url=self.url,
            headers=bearer(key),
            timeout=httpx2.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            trust_env=not is_loopback(httpx2.URL(self.url).host),
        )

    def __enter__(self) -> Self:
        self._http.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.__exit__(kind, error, traceback)

    def request(self, method: str, path: str, content: bytes | None = None) -> bytes:
        """The body of an answer.

        Raises:
            EngineUnreachable: nothing answers.
            PluginInactive: it is an engine without our plug-in.
            ModelRequestFailed: the engine refuses.
        """
        headers = {} if content is None else {"content-type": "application/json"}
        try:
            answer = self._http.request(method, path, content=content, headers=headers)
        except httpx2.TransportError as error:
            raise EngineUnreachable(
                f"no engine answers at {self.url}: {type(error).__name__}",
                hint="start one with agentrt serve, or give the URL of a running one",
            ) from error
        if answer.status_code == httpx2.codes.NOT_FOUND:
            raise PluginInactive(
                f"{self.url} answers, but has no {path.partition('?')[0]}: it runs without the "
                "agentrt plug-in, or an older one",
                hint="start it with agentrt serve",
            )
        if not answer.is_success:
            hint = ""
            if answer.status_code in (401, 403):
                hint = f"give its key with --engine-key or {API_KEY_VARIABLE}"
            raise ModelRequestFailed(
                f"the engine at {self.url} answered HTTP {answer.status_code} to {method} "
                f"{path.partition('?')[0]}: {excerpt(answer.text)}",
                status=answer.status_code,
                hint=hint,
            )
        return answer.content
