"""Main module of an engine whose ranks note every batch they run, and whose clocks disagree.

SGLang's schedulers are spawned processes, and Python imports the main module anew in each: that is
how the hook gets there. Each rank writes a file of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agentrt_engine.sglang import launch

FOLDER_VARIABLE = "AGENTRT_TEST_RANKS"


def _rank() -> int:
    from sglang.srt.runtime_context import get_parallel

    rank: int = get_parallel().tp_rank
    return rank


def _clock() -> float:
    """Runs three times as fast on the second rank."""
    return time.monotonic() * (1 + 2 * _rank())


def _noted(run_batch: Callable[..., Any], scheduler: Any, batch: Any, *args: Any) -> Any:
    """Note who is in the batch, and from which token on."""
    lengths = batch.prefix_lens if batch.forward_mode.is_extend() else [0] * len(batch.reqs)
    turns = " ".join(f"{req.rid}:{at}" for req, at in zip(batch.reqs, lengths, strict=True))
    path = Path(os.environ[FOLDER_VARIABLE], f"rank{_rank()}")
    with path.open("a") as file:
        file.write(f"{batch.forward_mode.name} {turns}\n")
    return run_batch(scheduler, batch, *args)


if __name__ in ("__main__", "__mp_main__"):
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    from agentrt_engine.sglang.scheduler import hooks

    setattr(hooks, "time", SimpleNamespace(monotonic=_clock))  # noqa: B010 - mypy: a module
    target = "sglang.srt.managers.scheduler.Scheduler.run_batch"
    HookRegistry.register(target, _noted, HookType.AROUND)
if __name__ == "__main__":
    launch.main()
