"""Adds routes and middlewares to SGLang's application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentrt_engine.sglang.http.authorization import AuthorizationMiddleware
from agentrt_engine.sglang.http.channel import SchedulerChannel
from agentrt_engine.sglang.http.failures import Refusal
from agentrt_engine.sglang.http.hint_routes import HintRoute
from agentrt_engine.sglang.http.identity import IdentityMiddleware
from agentrt_engine.sglang.http.learned_keeper import LearnedKeeper, LearnedMiddleware
from agentrt_engine.sglang.http.metrics import MetricsMiddleware
from agentrt_engine.sglang.http.program_routes import ProgramRoutes
from agentrt_engine.sglang.http.scope import App, Receive, Scope, Send, path_of
from agentrt_engine.sglang.http.session_end import SessionEndMiddleware
from agentrt_engine.sglang.http.tool_watch import HintingPrograms, ToolWatchMiddleware
from agentrt_engine.wire.control import LEARNED_PATH
from agentrt_engine.wire.hints import HINTS_PATH
from agentrt_engine.wire.programs import PROGRAMS_PATH


def extend(
    app: Starlette,
    channel: SchedulerChannel,
    keys: Sequence[str],
    admin_key: str | None,
    keeper: LearnedKeeper | None,
) -> None:
    """Extend an application that does not serve yet.

    Args:
        keys, admin_key: as in `AuthorizationMiddleware`.
        keeper: runs while the server does.
    """
    hinting = HintingPrograms()
    routes = _routes(channel, keys, hinting)
    build = app.build_middleware_stack

    def build_outermost() -> Any:
        """SGLang adds its check of the key later than this, and ours must come before it."""
        stack: App = ToolWatchMiddleware(build(), channel, hinting)
        stack = SessionEndMiddleware(stack, channel)
        stack = MetricsMiddleware(IdentityMiddleware(stack), channel)
        if keeper is not None:
            stack = LearnedMiddleware(stack, keeper)
        return AuthorizationMiddleware(_OwnRoutes(stack, routes), keys, admin_key)

    setattr(app, "build_middleware_stack", build_outermost)  # noqa: B010 - mypy: a method


def _routes(channel: SchedulerChannel, keys: Sequence[str], hinting: HintingPrograms) -> Starlette:
    hints = HintRoute(channel, hinting)
    programs = ProgramRoutes(channel, keys)
    return Starlette(
        routes=[
            Route(HINTS_PATH, hints.post, methods=["POST"]),
            Route(PROGRAMS_PATH, programs.programs, methods=["GET"]),
            Route(LEARNED_PATH, programs.export, methods=["GET"]),
            Route(LEARNED_PATH, programs.replace, methods=["PUT"]),
        ],
        exception_handlers={Refusal: _refuse},
    )


class _OwnRoutes:
    """Serves our routes beside SGLang's application: its layers cost more than a hint."""

    _PATHS = frozenset([HINTS_PATH, PROGRAMS_PATH, LEARNED_PATH])

    def __init__(self, app: App, routes: App) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and path_of(scope) in self._PATHS
        await (self._routes if ours else self._app)(scope, receive, send)


async def _refuse(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return Response(refusal.body(), refusal.status, media_type="application/json")
