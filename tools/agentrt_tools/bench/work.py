"""Many entries, some at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")


async def work_off(
    items: Sequence[T], work: Callable[[T], Awaitable[None]], *, parallel: int
) -> None:
    """Do the work for each item, in order, `parallel` of them at once; the first error ends all."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    async with anyio.create_task_group() as group:
        for _ in range(min(parallel, len(items))):
            group.start_soon(worker)
