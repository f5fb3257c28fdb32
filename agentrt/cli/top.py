"""`agentrt top`: the programs of a live engine in the terminal."""

from __future__ import annotations

import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.live import Live

from agentrt.cli import console
from agentrt.cli.engine_api import EngineApi, EngineKey
from agentrt.cli.options import JsonTarget
from agentrt.cli.simulated_options import positive
from agentrt.cli.top_view import Interval, draw
from agentrt.errors import AgentrtError, ModelRequestFailed
from agentrt_engine.wire.programs import PROGRAMS_PATH, EngineSnapshot

#: While a view is open: what does not answer by then is said to be silent.
_LIVE_TIMEOUT_S = 5.0

#: Waits so many seconds, or until the user wants to leave; says whether to go on.
Wait = Callable[[float], bool]


def top(
    url: str,
    *,
    interval: Annotated[float, Parameter(validator=positive)] = 1.0,
    engine_key: EngineKey = None,
    once: Annotated[bool, Parameter(negative="")] = False,
    json: JsonTarget = None,
) -> None:
    """Show live which programs an engine has, what they wait for and what memory they hold.

    Above: KV memory (running turns, leases of paused programs, free), hit rate of the prefix
    cache, reclaimed tokens by reason, hints by outcome, predicted against actual pauses. Below: a
    line per program, running ones first. Ctrl-C or q leaves. When the engine goes away the view
    stays and goes on when it is back.

    Examples:

        agentrt top http://127.0.0.1:30000
        agentrt top http://127.0.0.1:30000 --once
        agentrt top http://127.0.0.1:30000 --json -

    Parameters
    ----------
    url
        An engine started by agentrt serve.
    interval
        Seconds between two looks.
    once
        Print the view once; so it is also where stdout is no terminal.
    """
    live = not once and json is None and console.out.is_terminal
    with EngineApi(url, engine_key, timeout_s=_LIVE_TIMEOUT_S if live else 30.0) as api:
        snapshot = read_snapshot(api)
        if live:
            with _keys() as wait:
                show(console.out, api, snapshot, lambda: wait(interval))
            return
    console.write_json(json, snapshot)
    if json is None:
        console.out.print(draw(api.url, snapshot))


def show(to: Console, api: EngineApi, first: EngineSnapshot, go_on: Callable[[], bool]) -> None:
    """Draw snapshots on the alternate screen.

    Args:
        go_on: waits until it is time for the next one; False: leave.
    """
    snapshot, before, problem = first, None, ""
    with suppress(KeyboardInterrupt), Live(console=to, screen=True, auto_refresh=False) as live:
        while True:
            interval = Interval.between(before, snapshot)
            view = draw(
                api.url,
                snapshot,
                interval=interval,
                problem=problem,
                width=to.width,
                height=to.height,
            )
            live.update(view, refresh=True)
            if not go_on():
                return
            try:
                before, snapshot, problem = snapshot, read_snapshot(api), ""
            except AgentrtError as error:
                # It may be started again, or be in a long step.
                problem = _short(error)


def _short(error: AgentrtError) -> str:
    """A few words, for one line."""
    return f"HTTP {error.status}" if isinstance(error, ModelRequestFailed) else "nothing there"


def read_snapshot(api: EngineApi) -> EngineSnapshot:
    """The engine's programs now.

    Raises:
        EngineUnreachable, PluginInactive, ModelRequestFailed: as `EngineApi.request`.
    """
    content = api.request("GET", PROGRAMS_PATH)
    try:
        return msgspec.json.decode(content, type=EngineSnapshot)
    except msgspec.DecodeError as error:
        raise ModelRequestFailed(
            f"the engine at {api.url} answered something else than its programs: {error}",
            status=200,
            hint="is it an engine of this version of agentrt?",
        ) from error


@contextmanager
def _keys() -> Iterator[Wait]:
    """Reads keys without Enter while it lasts, where there is a keyboard."""
    if not sys.stdin.isatty():
        yield _sleep
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield _wait_for_key
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True


def _wait_for_key(seconds: float) -> bool:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0] and sys.stdin.read(1) in ("q", "Q", ""):
            return False
    return True
