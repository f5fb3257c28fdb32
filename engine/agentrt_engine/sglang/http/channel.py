"""Questions to the scheduler over SGLang's own channel, answered by their id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from agentrt_engine.sglang.http.failures import Refusal
from agentrt_engine.wire.question import Question

#: Questions that may wait for an answer at once.
MAX_PENDING = 256

#: How long a client waits for the scheduler, seconds. It answers between two steps, and a step
#: with a long prefill takes seconds on a CPU.
ANSWER_S = 15.0


class SchedulerChannel:
    """Asks the scheduler. Used within one event loop.

    Args:
        send: puts id, question and payload on the way; the answer comes to `receive`.
        answer_s: how long an answer may take, seconds.
    """

    def __init__(
        self,
        send: Callable[[str, Question, bytes], Awaitable[None]],
        answer_s: float = ANSWER_S,
    ) -> None:
        self._send = send
        self._answer_s = answer_s
        self._pending: dict[str, asyncio.Future[bytes]] = {}

    @property
    def pending(self) -> int:
        """Questions that wait for an answer."""
        return len(self._pending)

    async def ask(self, question: Question, payload: bytes, answer_s: float | None = None) -> bytes:
        """The answer to a question.

        Args:
            answer_s: how long it may take, where that is another time than usual.

        Raises:
            Refusal: too many questions wait (503), or the answer did not come in time (504).
        """
        if len(self._pending) >= MAX_PENDING:
            raise Refusal(
                503, f"{MAX_PENDING} requests already wait for the scheduler", "scheduler_busy"
            )
        limit_s = self._answer_s if answer_s is None else answer_s
        rid = uuid4().hex
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[rid] = answer
        try:
            async with asyncio.timeout(limit_s):
                await self._send(rid, question, payload)
                return await answer
        except TimeoutError as error:
            raise Refusal(
                504, f"the scheduler did not answer within {limit_s:g} s", "scheduler_silent"
            ) from error
        finally:
            del self._pending[rid]

    async def tell(self, question: Question, payload: bytes) -> None:
        """Say something whose answer does not matter."""
        await self._send(uuid4().hex, question, payload)

    def receive(self, rid: str, payload: bytes) -> None:
        """Hand an answer to who waits for it; nobody does after a timeout."""
        waiting = self._pending.get(rid)
        if waiting is not None and not waiting.done():
            waiting.set_result(payload)


def open_channel(tokenizer_manager: Any) -> SchedulerChannel:
    """The channel of a running server."""
    from sglang.utils import TypeBasedDispatcher

    from agentrt_engine.sglang.messages import Answer, Ask

    async def send(rid: str, question: Question, payload: bytes) -> None:
        tokenizer_manager.auto_create_handle_loop()  # receives the answers; does nothing twice
        ask = Ask(rid=rid, question=question.value, payload=payload)
        await tokenizer_manager._async_dispatch_to_scheduler(ask)

    channel = SchedulerChannel(send)

    def receive(answer: Any) -> None:
        channel.receive(answer.rid, answer.payload)

    tokenizer_manager._result_dispatcher += TypeBasedDispatcher([(Answer, receive)])
    return channel
