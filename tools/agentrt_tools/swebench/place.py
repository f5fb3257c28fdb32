"""Where commands of an instance run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from agentrt_tools.command import CommandResult
from agentrt_tools.limits import Limits

#: Tests take their time; what they may use of a machine is bounded all the same.
LIMITS = Limits(cpu_s=3_600.0, memory_mb=8_192, processes=512)


class Place(Protocol):
    """A checkout with all that its tests need.

    Attributes:
        workdir: of the checkout, as its commands see it.
    """

    workdir: str

    async def run(
        self, command: str, timeout: float, environment: Mapping[str, str] = ...
    ) -> CommandResult:
        """Run a bash command in the checkout.

        Raises:
            TimeoutError: it takes longer than so many seconds; it has been ended.
        """
        ...

    async def put(self, name: str, text: str) -> str:
        """Write a file that is no part of the checkout; its path, as commands see it."""
        ...
