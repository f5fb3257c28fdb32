"""Runs that crash at every point there is: before and after every event, effect and request.

The process "crashes" by an exception that nothing handles, and from then on writes nothing. What
tools did to the world, and what the journal holds, stays.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.lowlevel
import crash_world
from crash_world import TURNS, boss, check_world, reply, turn_of

from agentrt import Program, connect
from agentrt.chat import ChatReply, ChatRequest
from agentrt.client import EngineClient
from agentrt.endpoint import Endpoint
from agentrt.journal.events import Event, TurnEnded
from agentrt.journal.runs import read_events
from agentrt.journal.store import Store
from agentrt_engine.wire.identity import ProgramTag

WORDS = ("ant", "beetle", "cat", "donkey", "elephant", "fly")

#: How often a run that is resumed crashes again.
AGAIN = 0.3


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Crashes:
    """What was found.

    Attributes:
        points: at which a run crashed; resumptions: that followed, those that crashed included.
        unknown: writes of which the model was told that nobody knows.
        asked_again: model requests that were on their way and had to be made again.
    """

    points: int = 0
    resumptions: int = 0
    unknown: int = 0
    asked_again: int = 0
    defects: list[str] = field(default_factory=list)


class CrashingProcess:
    """Counts points, and crashes at one."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self.passed = 0
        self.crash_at: int | None = None

    def point(self) -> None:
        """Somewhere a process may crash; once it has, everywhere."""
        self.passed += 1
        if self.crash_at is not None and self.passed >= self.crash_at:
            raise Crash

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Journal, model and world pass through points of this process."""
        append, chat, discover = Store.append, EngineClient.chat, EngineClient.discover
        process = self

        def append_or_crash(store: Store, event: Event) -> None:
            process.point()
            append(store, event)
            process.point()

        async def answer(
            _client: EngineClient,
            request: ChatRequest,
            *,
            endpoint: Endpoint,
            tag: ProgramTag,
            request_id: str,
            heard: Callable[[str], None] | None = None,
        ) -> ChatReply:
            process.point()
            turn = turn_of(request.messages)
            process.asked[tag.program_id, turn] += 1
            await anyio.lowlevel.checkpoint()
            process.point()
            text = reply(request.messages)
            return ChatReply("", "model", text, "stop", 100 + turn, len(text), None, None)

        async def found(_client: EngineClient) -> Endpoint:
            return Endpoint("http://127.0.0.1:9", "model", None)

        setattr(Store, "append", append_or_crash)  # noqa: B010 - methods to mypy
        setattr(EngineClient, "chat", answer)  # noqa: B010
        setattr(EngineClient, "discover", found)  # noqa: B010
        crash_world.point = self.point
        try:
            yield
        finally:
            setattr(Store, "append", append)  # noqa: B010
            setattr(EngineClient, "chat", chat)  # noqa: B010
            setattr(EngineClient, "discover", discover)  # noqa: B010
            crash_world.point = lambda: None


def crash_everywhere(most: int, seed: int) -> Crashes:
    """Crash so many runs, each at another point or of other workers."""
    rng = random.Random(seed)
    found = Crashes()
    while found.points < most:
        names = rng.sample(WORDS, rng.randint(1, 3))
        whole = CrashingProcess()
        with tempfile.TemporaryDirectory() as folder, whole.installed():
            finish(whole, Path(folder), names, found, rng, first_crash=None)
        for at in range(1, whole.passed + 1):
            if found.points == most:
                break
            found.points += 1
            process = CrashingProcess()
            with tempfile.TemporaryDirectory() as folder, process.installed():
                finish(process, Path(folder), names, found, rng, first_crash=at)
    return found


def finish(
    process: CrashingProcess,
    folder: Path,
    names: list[str],
    found: Crashes,
    rng: random.Random,
    *,
    first_crash: int | None,
) -> None:
    """Run and resume until it is done, and look at what became of it."""
    process.crash_at = first_crash
    with chdir(folder):
        program = attempt(folder, names)
        crashed = program is None
        if crashed != (first_crash is not None):
            found.defects.append(f"point {first_crash}: crashed {crashed}")
        while program is None:
            found.resumptions += 1
            again = rng.random() < AGAIN
            process.crash_at = process.passed + rng.randint(1, 60) if again else None
            run = folder / "run"
            known = {key: process.asked[key] for key in recorded(run)} if run.exists() else {}
            program = attempt(folder, names)
            for key, times in known.items():
                if process.asked[key] != times:
                    found.defects.append(f"point {first_crash}: {key} was asked again")
    defects, unknown = check_world(folder, names, program.output)
    if [len(child.turns) for child in program.children] != [TURNS] * len(names):
        defects.append(f"turns: {[len(child.turns) for child in program.children]}")
    found.unknown += unknown
    found.asked_again += sum(times - 1 for times in process.asked.values())
    found.defects += [f"point {first_crash}: {defect}" for defect in defects]


def recorded(run: Path) -> Iterator[tuple[str, int]]:
    """Program and number of every answer that the journal of a run has."""
    turns: Counter[str] = Counter()
    for event in read_events(run):
        if isinstance(event, TurnEnded):
            yield event.program, turns[event.program]
            turns[event.program] += 1


def attempt(folder: Path, names: list[str]) -> Program | None:
    """Run the boss until he is done; None if the process crashed."""

    async def main() -> Program:
        async with connect("http://127.0.0.1:9", journal=folder / "run") as runtime:
            return (await runtime.run(boss, names)).program

    program = None
    try:
        program = anyio.run(main)
    except* Crash:
        pass
    return program
