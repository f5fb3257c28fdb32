"""Where commands of an instance run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from agentrt_tools.command import CommandResult
from agentrt_tools.limits import Limits

#: What the commands of a place may use of a machine; the time of each is limited by itself.
LIMITS = Limits(cpu_s=None, memory_mb=8_192, processes=512)


class Place(Protocol):
    """A checkout with all that its tests need.

    Attributes:
        workdir: of the checkout, as its commands see it.
    """

    workdir: str

    async def run(
        self, command: str, timeout: float, environment: Mapping[str, str] = ...
    ) -> CommandResult:
        """Run a bash command in the checkout; one that takes longer is ended."""
        ...

    async def put(self, name: str, text: str) -> str:
        """Write a file that commands can read; its path, as they see it."""
        ...
