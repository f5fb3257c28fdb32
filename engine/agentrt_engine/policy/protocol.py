"""What every policy decides, what it may look at, and what it is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

from agentrt_engine.policy.program import Context, Lease, Program, Turn

#: The place of a waiting turn in the queue: the smallest is admitted first.
Rank = tuple[float, ...]


class Gate(Enum):
    """Whether a waiting turn may start, memory permitting."""

    OPEN = "open"
    LATER = "later"
    #: Neither this turn nor any after it in the order.
    CLOSED = "closed"


class Memory(Enum):
    """What KV memory an engine pretends to have; bounds are simulated only."""

    REAL = "real"
    #: Idle KV costs nothing and is never lost.
    FREE_RETENTION = "free-retention"
    UNLIMITED = "unlimited"


@dataclass(frozen=True, slots=True)
class Costs:
    """What an engine's work costs, seconds; see `simulated/profile.py` for the formula.

    Attributes:
        fixed_s: of a step, whatever is in it.
        decode_s: per KV token of the decoding batch and step.
        prefill_s: per prefilled token.
        position_s: per prefilled token and token before it.
        host_s: per token that comes back from host memory; None without a host tier.
        host_latency_s: per transfer.
        sequence_s: per decoding turn and step.
    """

    fixed_s: float
    decode_s: float
    prefill_s: float
    position_s: float
    host_s: float | None = None
    host_latency_s: float = 0.0
    sequence_s: float = 0.0

    def prefill(self, first: int, end: int) -> float:
        """Seconds to prefill the positions from `first` up to `end`."""
        count = end - first
        return self.prefill_s * count + self.position_s * (count * (first + end - 1) / 2)


class Victim(NamedTuple):
    """Tokens of an idle context to evict: off its tail, or off its front.

    The rest of a context without its front is used again once the tokens in the hole are computed
    again, in a chunk of their own.
    """

    context: Context
    tokens: int
    front: bool = False


class EngineView(Protocol):
    """What a policy may ask of the engine at a decision."""

    @property
    def capacity_tokens(self) -> int:
        """KV memory."""

    @property
    def host_tokens(self) -> int:
        """Host memory for copies of KV; 0 without a host tier."""

    @property
    def free_tokens(self) -> int:
        """Of it, holding nothing."""

    @property
    def costs(self) -> Costs:
        """The engine's cost model."""

    @property
    def looks(self) -> float:
        """How many programs there is time to look at anew between rounds; inf in virtual time,
        where there is time in rounds instead."""

    @property
    def programs(self) -> Mapping[str, Program]:
        """The live programs, in the order of their arrival."""

    @property
    def running(self) -> Collection[Turn]:
        """Turns that are being prefilled or decoded, in the order of their start; fast `in`."""

    @property
    def waiting(self) -> int:
        """Turns in the queue."""

    def position(self, program: Program) -> int:
        """How many turns are before the waiting turn of a program in the queue."""

    def context(self, program: Program) -> Context:
        """The KV of a live program."""


class Policy(Protocol):
    """The decisions an engine asks for and the observations it reports.

    A policy has no clock, does no I/O and draws no random numbers: everything comes in as an
    argument. `BasePolicy` has a default for each member.

    Of each program it is told once that it started, before anything else, and once that it ended,
    after which it is asked about its turns no more. In between turns may run at the same time,
    vanish, or start without the end of a pause. Times never go back.
    """

    @property
    def name(self) -> str:
        """The registered name."""

    @property
    def order_only(self) -> bool:
        """Whether it decides nothing but `rank`, so that any engine can run it."""

    @property
    def retains(self) -> bool:
        """Whether it decides which idle KV yields; if not, the engine's own LRU does as well."""

    @property
    def evicts_fronts(self) -> bool:
        """Whether some of its victims lose their front, which needs prefill in chunks."""

    @property
    def ranks_are_fixed(self) -> bool:
        """Whether `rank` of a turn stays the same while the turn waits."""

    @property
    def needs_hits(self) -> bool:
        """Whether `Turn.hit_tokens` must be up to date when `rank` is called."""

    @property
    def knows_ends(self) -> bool:
        """Whether the KV of a program that ended is freed at once."""

    @property
    def knows_future(self) -> bool:
        """Whether `Program.returns_s` and `remaining_s` are to be filled in: an oracle."""

    @property
    def backfill(self) -> int:
        """How many later turns may be tried when one does not fit."""

    @property
    def recheck_s(self) -> float | None:
        """How long after a blocked admission to try again although nothing happened."""

    @property
    def memory(self) -> Memory:
        """What memory to pretend; anything but `REAL` needs a simulated engine."""

    def attach(self, costs: Costs) -> None:
        """What the engine's work costs; said before anything else, and again when it changes."""

    def rank(self, now: float, turn: Turn) -> Rank:
        """The place of a waiting turn."""

    def prepare(self, now: float, engine: EngineView) -> None:
        """Between two rounds: a moment to find out anew what the next one will ask.

        Nothing may depend on it but how old what was found is. Real engines call it every few
        steps; in virtual time rounds have time for everything.
        """

    def open_gate(self, now: float, engine: EngineView) -> None:
        """A round of admissions begins: next come `rank` if ranks change, and `admit`."""

    def admit(self, now: float, turn: Turn, engine: EngineView) -> Gate:
        """Whether the turn may start now."""

    def lease(self, now: float, program: Program, engine: EngineView) -> Lease | None:
        """How the KV of a program that pauses is protected.

        Asked when the pause begins, in a real engine a few steps later but before `reclaim`,
        and again when more is known of it.
        """

    def reserve(self, turn: Turn, engine: EngineView) -> int:
        """Tokens that must stay free when the turn starts; `reclaim` is asked when fewer would."""

    def willing(self) -> Collection[Program]:
        """Paused programs whose KV yields to anybody, as far as is known without a look."""

    def reclaim(
        self,
        now: float,
        turn: Turn,
        need: int,
        idle: Collection[Context],
        engine: EngineView,
        *,
        backfill: bool,
    ) -> list[Victim] | None:
        """What yields so that `turn` gets `need` more tokens of memory.

        Args:
            turn: to be started, or one in the batch that needs its next page.
            need: tokens to free, whole pages; negative if so many more than it needs are free.
            idle: evictable contexts; the turn's own is not among them.
            backfill: a turn before it in the order is blocked.

        Returns:
            what to evict, in order; an engine takes no more than `need`. None, or less than
            `need` in all: a turn to be started waits on, and a turn in the batch gets what there
            is.
        """

    def preempt(self, now: float, running: Collection[Turn]) -> Turn:
        """Which running turn is taken out when decoding runs out of memory."""

    def drop_host(self, now: float, copies: Collection[Context]) -> Context:
        """Whose copy in a full host tier is dropped."""

    def price(self, now: float) -> float:
        """GPU-seconds saved per token-second of free memory, for accounts."""

    def predict_pause(self, program: Program, quantile: float) -> float | None:
        """That quantile of the pause that begins now, seconds; None without a prediction."""

    def program_started(self, now: float, program: Program) -> None:
        """A program reached the engine for the first time."""

    def turn_started(self, now: float, turn: Turn, *, cached: bool) -> None:
        """A turn was admitted; `cached` if nothing of its context had been lost."""

    def turn_ended(self, now: float, program: Program) -> None:
        """A turn's last token was generated; the program pauses or ends."""

    def tool_started(self, now: float, program: Program, tool: str) -> None:
        """It is known which tool the program waits for."""

    def pause_ended(self, now: float, program: Program) -> None:
        """The paused program's next turn has come, before it is queued."""

    def program_ended(self, now: float, program: Program) -> None:
        """The program has no more turns."""

    def hinted(self, now: float, program: Program) -> None:
        """Somebody said `priority`, `expected`, `remaining_s` or `max_turns` of a live program.

        The ranks of its turns and of those of its children may be others now, even where they
        stay the same otherwise.
        """

    def learned(self) -> dict[str, Any]:
        """What it learned that is worth keeping when the engine stops, for JSON; {} if nothing.

        A few MB at most.
        """

    def recall(self, learned: Mapping[str, Any]) -> None:
        """Go on from what an earlier policy of the same name had `learned`.

        Raises:
            SettingError: it is damaged or of another version; the policy stays as it was.
        """

    def stepped(
        self, now: float, seconds: float, running: float, kv_tokens: float, fixed: float
    ) -> None:
        """The engine worked for `seconds` since it last said so: before each decision in a
        simulation, and in a real engine every few steps and before decisions when it is idle.

        Args:
            running: turns in the batch and kv_tokens: of those that decode, means over the steps.
            fixed: the share of the time that a step takes whatever is in it.
        """
