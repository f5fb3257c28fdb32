"""A progress bar on stderr for work that takes more than two seconds."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agentrt.cli import console

_DELAY_S = 2.0


class RunProgress:
    """Shows how much is done; nothing for short work, pipes and `--quiet`.

    Args:
        total: None where it is not known.
    """

    def __init__(self, what: str, total: int | None, unit: str) -> None:
        self._what = what
        self._total = total
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console.progress,
            transient=True,
            disable=not console.progress.is_terminal or console.progress.quiet,
        )
        self._begin_s = time.monotonic()
        self._started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, done: int) -> None:
        """So much is done now."""
        if not self._started:
            if time.monotonic() - self._begin_s < _DELAY_S:
                return
            self._started = True
            self._bar.add_task(self._what, total=self._total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done)
