"""Main module of an engine that notes the time between its model runs, for `step_overhead`.

SGLang's scheduler is a spawned process, and Python imports the main module anew in it: that is
how the hook gets there. A sample is written as six numbers of 8 bytes: when, the time between the
end of one run of the model and the start of the next by the wall and by the thread's own CPU
clock, whether the next is a prefill, and how many requests run and wait.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentrt_engine.sglang import launch

SAMPLES_VARIABLE = "AGENTRT_STEP_SAMPLES"
FIELDS = 6

#: How often samples are written, seconds.
WRITE_S = 2.0


class Probe:
    """The hook around `Scheduler.run_batch`; writes within what it does not measure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._samples = array("d")
        self._written_s = 0.0
        self._ended_s = self._ended_cpu_s = 0.0

    def around(
        self, run_batch: Callable[..., Any], scheduler: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Run the model, and note how long ago it ran before, unless it was idle meanwhile."""
        cpu_s, now = time.thread_time(), time.perf_counter()
        if self._ended_s and not scheduler._sched_idled:
            self._samples.extend(
                (
                    now,
                    now - self._ended_s,
                    cpu_s - self._ended_cpu_s,
                    float(batch.forward_mode.is_extend()),
                    len(scheduler.running_batch.reqs),
                    len(scheduler.waiting_queue),
                )
            )
        result = run_batch(scheduler, batch, *args, **kwargs)
        if now - self._written_s > WRITE_S:
            with self._path.open("ab") as file:
                self._samples.tofile(file)
            self._samples = array("d")
            self._written_s = now
        self._ended_s, self._ended_cpu_s = time.perf_counter(), time.thread_time()
        return result


def _register() -> None:
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    probe = Probe(Path(os.environ[SAMPLES_VARIABLE]))
    target = "sglang.srt.managers.scheduler.Scheduler.run_batch"
    HookRegistry.register(target, probe.around, HookType.AROUND)


if __name__ in ("__main__", "__mp_main__"):  # not where its constants are read
    _register()
if __name__ == "__main__":
    launch.main()
