"""The programs an engine knows, and the turns of them that it has not finished."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count

from agentrt_engine.policy import Phase, Program, Turn
from agentrt_engine.sglang.scheduler.prompt_identity import PromptIdentity
from agentrt_engine.sglang.scheduler.side_store import Segment
from agentrt_engine.wire.hints import Hint
from agentrt_engine.wire.identity import ProgramTag
from agentrt_engine.wire.programs import ProgramAccount

#: Programs remembered; beyond it the one that has been silent for longest ends.
MAX_PROGRAMS = 65_536


class End(StrEnum):
    """Why a program ended."""

    FINAL = "final"
    HINT = "hint"
    IDLE = "idle"
    ABORTED = "aborted"
    EVICTED = "evicted"


@dataclass(slots=True, eq=False)
class Live:
    """A program and what an engine keeps of it besides what policies see.

    Attributes:
        key: its name in the table; programs of different owners never meet.
        owner: short name of the API key it came with.
        program_id: as its client calls it.
        fallback: its identity was guessed, so another program may have it as well.
        turns: of it that wait or run.
        ending: why it ends with the last of them.
        lost: KV of it was reclaimed during this pause.
        pending: hints for the pause that begins when its turn has ended.
        tools: tool calls under way.
        predicted_s: median length of this pause as predicted when it began.
        seen_s: when it last did something; state_since_s: when its phase changed.
    """

    program: Program
    key: str
    owner: str
    program_id: str
    fallback: bool = False
    turns: dict[LiveTurn, None] = field(default_factory=dict)
    ending: End | None = None
    lost: bool = False
    pending: list[Hint] = field(default_factory=list)
    tools: set[str] = field(default_factory=set)
    predicted_s: float | None = None
    seen_s: float = 0.0
    state_since_s: float = 0.0
    account: ProgramAccount = field(default_factory=ProgramAccount)

    def settle(self, now: float) -> None:
        """Its phase follows from its turns: one that runs counts before one that waits."""
        phase = max((turn.phase for turn in self.turns), key=_RANK.__getitem__, default=_PAUSED)
        if phase is not self.program.phase:
            self.program.phase = phase
            self.state_since_s = now


_PAUSED = Phase.PAUSED
_RANK = {Phase.WAITING: 0, Phase.PREEMPTED: 1, Phase.RUNNING: 2}


@dataclass(slots=True, eq=False)
class LiveTurn:
    """A request that waits or runs.

    Attributes:
        prompt: its tokens as the client sent it.
        final: it is its program's last.
        prefilled: tokens of its prompt that were not in the cache when it started.
        again: of them, those that had been in the cache.
        rank: its place in the queue; None where the queue was not sorted since it came.
        share_mark: what a turn that decodes all the time was charged until it began to.
        segment: KV of its prompt behind a hole that it computes.
    """

    turn: Turn
    live: Live
    prompt: int
    final: bool = False
    running: bool = False
    prefilled: int = 0
    again: int = 0
    rank: tuple[float, ...] | None = None
    share_mark: float = 0.0
    segment: Segment | None = None

    @property
    def phase(self) -> Phase:
        """What it is doing."""
        if self.running:
            return Phase.RUNNING
        return Phase.PREEMPTED if self.turn.preempted else Phase.WAITING


class ProgramTable:
    """The live programs.

    Positions come from a counter, not from a clock, so every tensor-parallel rank, which sees
    the same requests in the same order, gives the same ones.

    Args:
        capacity: programs at most; see `overflow`.
    """

    def __init__(self, capacity: int = MAX_PROGRAMS) -> None:
        self._capacity = capacity
        self._programs: dict[str, Program] = {}
        self._recent: OrderedDict[str, Live] = OrderedDict()
        self._prompts = PromptIdentity()
        self._next = count()

    def __len__(self) -> int:
        return len(self._programs)

    def __iter__(self) -> Iterator[Live]:
        """All, the one silent for longest first."""
        return iter(self._recent.values())

    @property
    def programs(self) -> Mapping[str, Program]:
        """In the order of their arrival."""
        return self._programs

    def of(self, program: Program) -> Live:
        """What is kept of a live program."""
        return self._recent[program.program_id]

    def find(self, owner: str, program_id: str) -> Live | None:
        """A program by the name its client gave it."""
        return self._recent.get(_key(owner, program_id))

    def identify(
        self, tag: ProgramTag, prompt: array[int], request_id: str, now: float
    ) -> tuple[Live, bool]:
        """The program of a request; whether it is new.

        A request without a name belongs to the paused program whose last prompt is the longest
        that its own begins with.
        """
        live = self._named(tag) if tag.program_id else self._prompts.longest(tag.owner, prompt)
        if live is not None:
            self.touch(live, now)
            return live, False
        return self._add(tag, tag.program_id or request_id, now), True

    def _named(self, tag: ProgramTag) -> Live | None:
        live = self.find(tag.owner, tag.program_id)
        if not tag.fallback:
            return live
        # Of programs with the same guessed name one that has nothing in flight.
        for copy in count(2):
            if live is None or not live.turns:
                return live
            live = self.find(tag.owner, f"{tag.program_id}#{copy}")
        raise AssertionError("unreachable")

    def _add(self, tag: ProgramTag, program_id: str, now: float) -> Live:
        name = program_id
        for copy in count(2):
            if _key(tag.owner, name) not in self._recent:
                break
            name = f"{program_id}#{copy}"
        key = _key(tag.owner, name)
        program = Program(key, next(self._next), now, agent=tag.agent or "")
        guessed = tag.fallback or not tag.program_id
        live = Live(program, key, tag.owner, name, guessed, seen_s=now, state_since_s=now)
        self._programs[key] = program
        self._recent[key] = live
        return live

    def remember_prompt(self, live: Live, prompt: array[int]) -> None:
        """A turn of a program without a name has this prompt: its next one will begin with it."""
        self._prompts.remember(live, prompt)

    def touch(self, live: Live, now: float) -> None:
        """The program did something."""
        live.seen_s = now
        self._recent.move_to_end(live.key)

    def remove(self, live: Live) -> None:
        """The program ended."""
        del self._programs[live.key]
        del self._recent[live.key]
        self._prompts.forget(live)

    def overflow(self) -> Live | None:
        """Whom the table has no room for: the program silent for longest that does nothing."""
        if len(self._programs) <= self._capacity:
            return None
        return next((live for live in self if not live.turns), None)


def _key(owner: str, program_id: str) -> str:
    return f"{owner}/{program_id}" if owner else program_id
