"""The engines that a benchmark runs on, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from agentrt import EngineSettings, Runtime, connect
from agentrt.cli import console
from agentrt.embedded import owned_engines


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Where entries run.

    Attributes:
        url: of an engine that runs already; None: one of our own.
        api_key: that it asks for.
        settings: of one of our own.
        notes: for the headers of traces.
    """

    url: str | None
    api_key: str | None
    settings: EngineSettings
    notes: Mapping[str, Any]

    @asynccontextmanager
    async def open(self, policy: str | None, trace: Path) -> AsyncIterator[Runtime]:
        """A runtime; an engine of our own is gone when the block ends, for the next one's sake.

        Args:
            policy: of an engine of our own; None leaves it to the engine.
        """
        async with AsyncExitStack() as resources:
            with console.Stages() as stages:
                runtime = await resources.enter_async_context(
                    connect(
                        self.url,
                        api_key=self.api_key,
                        trace=trace,
                        trace_notes=self.notes,
                        engine=replace(self.settings, policy=policy),
                        on_stage=stages.stage,
                    )
                )
            try:
                yield runtime
            finally:
                with anyio.CancelScope(shield=True):
                    for process in owned_engines():
                        await anyio.to_thread.run_sync(partial(process.stop, 0.0))


def policy_of(runtime: Runtime, asked: str | None) -> str | None:
    """What to call the policy of an engine: as it was asked for, else as the engine says."""
    info = runtime.engine.info
    return asked or (info.policy if info is not None else None)
