"""The programs that a program starts: they end before it does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from agentrt.running import Running

R = TypeVar("R")


class Family:
    """Running programs in one task group."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._members: list[Running[Any]] = []

    def start(self, running: Running[R], run: Callable[[], Awaitable[R]]) -> Running[R]:
        """A program begins."""
        self._members.append(running)
        self._tasks.start_soon(running.follow, run, name=running.program.label)
        return running

    def failure(self) -> Exception | None:
        """The first failure that nobody has looked at."""
        failures = (member.unseen() for member in self._members)
        return next((error for error in failures if error is not None), None)


@asynccontextmanager
async def family(*, outlives_block: bool) -> AsyncIterator[Family]:
    """Room for programs around a block.

    If the block raises, they are cancelled, and what it raised is raised. If it ends, they are
    waited for, and a failure that nobody has looked at is raised.

    Args:
        outlives_block: else they are cancelled at its end.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        members = Family(tasks)
        try:
            yield members
        except Exception as error:  # noqa: BLE001 - a task group would wrap it
            failure = error
        if failure is not None or not outlives_block:
            tasks.cancel_scope.cancel()
    failure = failure or members.failure()
    if failure is not None:
        raise failure
