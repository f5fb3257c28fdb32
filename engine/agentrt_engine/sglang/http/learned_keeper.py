"""Carries what was learned from the file to the scheduler at start, and back from time to time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from agentrt_engine.sglang.http.channel import SchedulerChannel
from agentrt_engine.sglang.http.failures import Refusal
from agentrt_engine.sglang.http.learned_file import LearnedFile
from agentrt_engine.sglang.http.scope import App, Message, Receive, Scope, Send
from agentrt_engine.wire.question import Question

_logger = logging.getLogger(__name__)

#: Between two saves, seconds.
SAVE_EVERY_S = 60.0

#: Between two looks for a signal to end, and between two saves while requests drain, seconds.
#: SGLang itself looks every 5 s.
SIGNAL_S = 0.2
DRAIN_S = 1.0


class LearnedKeeper:
    """Loads once, then saves now and then.

    Args:
        every_s: between two saves, seconds.
    """

    def __init__(
        self, channel: SchedulerChannel, file: LearnedFile, every_s: float = SAVE_EVERY_S
    ) -> None:
        self._channel = channel
        self._file = file
        self._every_s = every_s
        self._loaded = False
        self._saving = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.save()
            await asyncio.sleep(self._every_s)

    async def save(self) -> None:
        """Bring the file up to date; first of all, hand it to the scheduler.

        A scheduler that does not answer leaves the file as it is until the next time.
        """
        async with self._saving:
            try:
                if not self._loaded:
                    await self._load()
                    self._loaded = True
                content = await self._channel.ask(Question.LEARNED, b"")
            except Refusal as error:
                _logger.warning("what was learned is not saved now: %s", error)
                return
            await asyncio.to_thread(self._file.save, content)

    async def _load(self) -> None:
        content = await asyncio.to_thread(self._file.load)
        if content is None:
            return
        if reason := await self._channel.ask(Question.LEARN, content):
            self._file.set_aside(reason.decode())


class LearnedMiddleware:
    """Runs the keeper while the server does."""

    def __init__(self, app: App, keeper: LearnedKeeper) -> None:
        self._app = app
        self._keeper = keeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        task: asyncio.Task[None] | None = None

        async def watch(message: Message) -> None:
            nonlocal task
            if message["type"] == "lifespan.startup.complete":
                task = asyncio.create_task(self._keeper.run())
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])


async def save_before_exit(
    keeper: LearnedKeeper,
    exit_when_drained: Callable[[Any], Coroutine[Any, Any, None]],
    manager: Any,
    *,
    drain_s: float = DRAIN_S,
) -> None:
    """SGLang's `sigterm_watchdog`, with saves from the signal until the schedulers end.

    At once, because the owner may kill the engine before the last request is done; and again
    while requests drain, for what they teach.
    """
    while not manager.gracefully_exit:  # noqa: ASYNC110 - SGLang's flag tells nobody
        await asyncio.sleep(SIGNAL_S)
    await keeper.save()
    exiting = asyncio.create_task(exit_when_drained(manager))
    while not exiting.done():
        await asyncio.wait([exiting], timeout=drain_s)
        if not exiting.done():
            await keeper.save()
    exiting.result()
