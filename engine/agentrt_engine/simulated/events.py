"""What is going to happen at a known time, the earliest first."""

from __future__ import annotations

import heapq
from enum import Enum

from agentrt_engine.simulated.job import Job


class Event(Enum):
    """What happens."""

    #: A program arrives.
    ARRIVAL = 0
    #: One thing that a paused program waits for is over.
    RETURN = 1
    #: The queue is to be looked at again.
    RECHECK = 2
    #: KV has come back from host memory.
    LOADED = 3


class Events:
    """A heap of events; those of one time happen in the order in which they were added."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Event, Job | None]] = []
        self._serial = 0

    def __bool__(self) -> bool:
        return bool(self._heap)

    @property
    def next_at(self) -> int:
        """When the next event happens; there is one."""
        return self._heap[0][0]

    def add(self, at: int, event: Event, job: Job | None = None) -> None:
        """Something will happen at that virtual time."""
        self._serial += 1
        heapq.heappush(self._heap, (at, self._serial, event, job))

    def pop(self) -> tuple[int, Event, Job | None]:
        """The next event and its time."""
        at, _serial, event, job = heapq.heappop(self._heap)
        return at, event, job
