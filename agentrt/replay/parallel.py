"""The same function on many items, in this process or in several, with progress.

Results come in the order of the items and do not depend on the number of processes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from agentrt.errors import ReplayError

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

#: Says how far one call has come, in a unit of the function's own.
Report = Callable[[int], None]

_POLL_S = 0.1


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


def parallel(
    function: Callable[[Shared, Item, Report], Result],
    shared: Shared,
    items: Sequence[Item],
    *,
    workers: int,
    on_progress: Report,
) -> list[Result]:
    """Call `function(shared, item, report)` for every item.

    Args:
        function: of a module's top level, so that another process finds it.
        shared: sent to each process once.
        workers: processes; with one, or one item, everything happens in this process.
        on_progress: called now and then with the sum of what the calls reported.

    Raises:
        ReplayError: a process ended by itself. What `function` raises is raised here.
    """
    workers = min(workers, len(items))
    if workers > 1:
        return _in_processes(function, shared, items, workers, on_progress)
    results, before = [], 0
    for item in items:
        last = 0

        def report(done: int, before: int = before) -> None:
            nonlocal last
            last = done
            on_progress(before + done)

        results.append(function(shared, item, report))
        before += last
    return results


def _in_processes(
    function: Callable[[Shared, Item, Report], Result],
    shared: Shared,
    items: Sequence[Item],
    workers: int,
    on_progress: Report,
) -> list[Result]:
    # Spawned, not forked: a progress bar has a thread by now.
    context = multiprocessing.get_context("spawn")
    progress = context.Array("q", len(items), lock=False)
    earlier = multiprocessing.active_children()
    pool = ProcessPoolExecutor(workers, context, _prepare, (shared, progress))
    try:
        with _interrupts_blocked():
            futures = [pool.submit(_call, function, n, item) for n, item in enumerate(items)]
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, _POLL_S)
            on_progress(sum(progress))
            for future in done:
                future.result()
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise ReplayError(
            "a worker process ended by itself, probably for lack of memory",
            hint="use fewer --workers",
        ) from error
    except BaseException:
        # Otherwise the pool would wait for calls that nobody wants any more.
        for process in multiprocessing.active_children():
            if process not in earlier:
                process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started in the block never see Ctrl-C or SIGTERM; this one does, after the block.

    A terminal sends them to the whole group, but it is the parent that ends the workers: one
    that ends by itself, before the parent hears of it, would pass for a crash.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


#: What `_call` works with in a worker process.
_shared: Any = None
_progress: Any = None


def _prepare(shared: object, progress: object) -> None:
    """First thing in a worker process."""
    global _shared, _progress
    _shared, _progress = shared, progress


def _call(function: Callable[[Any, Item, Report], Result], index: int, item: Item) -> Result:
    def report(done: int) -> None:
        _progress[index] = done

    return function(_shared, item, report)
