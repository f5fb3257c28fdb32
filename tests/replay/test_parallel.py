"""The same function on many items, in one process and in several."""

from __future__ import annotations

import os
import signal

import pytest

from agentrt.errors import ReplayError
from agentrt.replay.parallel import Report, parallel


def scaled(factor: int, item: int, report: Report) -> int:
    report(item)
    return factor * item


def dying(_shared: None, item: int, _report: Report) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def failing(_shared: None, item: int, _report: Report) -> int:
    raise ValueError(f"item {item}")


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    seen: list[int] = []
    items = [3, 1, 2, 5]
    assert parallel(scaled, 10, items, workers=workers, on_progress=seen.append) == [30, 10, 20, 50]
    assert seen == sorted(seen)
    assert seen[-1] == sum(items)


def test_nothing_to_do() -> None:
    assert parallel(scaled, 10, [], workers=4, on_progress=lambda done: None) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_function_is_raised(workers: int) -> None:
    with pytest.raises(ValueError, match="item 1"):
        parallel(failing, None, [1, 1], workers=workers, on_progress=lambda done: None)


def test_a_worker_that_is_killed_is_an_error_with_a_hint() -> None:
    with pytest.raises(ReplayError, match="a worker process ended by itself") as found:
        parallel(dying, None, [1, 2, 3], workers=2, on_progress=lambda done: None)
    assert found.value.hint == "use fewer --workers"


def test_ctrl_c_is_deliverable_again_afterwards() -> None:
    parallel(scaled, 1, [1, 2], workers=2, on_progress=lambda done: None)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
