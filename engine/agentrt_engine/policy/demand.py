"""How much memory each program is going to need, in the order of priority: who is active?

A program that waits or runs needs its prompt and its output. One that pauses needs its context if
keeping that is worth its price, factor·rate ≥ λ, and else nothing. With a thousand paused programs
that cannot be asked of each in every round. Within a bin of the histogram the return rate has
bounds, so most answers hold for a while: until the pause leaves the bin, the price passes a known
threshold, or the histogram is built anew. Only programs whose answer may have changed are looked
at; the sums are what they would be if all were. (With one more subtlety: histograms are built anew
when they are asked, so one that is due is asked only if a program within the gate depends on it.)
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Protocol

from agentrt_engine.policy.durations import ToolDurations
from agentrt_engine.policy.needs import Needs
from agentrt_engine.policy.program import Phase, Program
from agentrt_engine.policy.protocol import EngineView

#: An answer is asked again this long before the pause leaves its bin, seconds: times are rounded.
EARLY_S = 1e-6

#: For how much of a bin an answer should hold: if none holds to its end, for a part.
SHARES = (1.0, 0.1)

#: For how long an answer should hold: while the price may rise or fall by this factor.
MARGIN = 1.2

#: Void entries are dropped from a heap when it has six times as many as there are programs, and
#: this many more.
SPARE_ENTRIES = 64

_PAUSED = Phase.PAUSED


def rate_worth(price: float, cost: float) -> float:
    """The return rate from which on keeping KV that costs so much is worth the price, 1/s.

    A cost model may find that prefill costs nothing.
    """
    return price / cost if cost > 0 else math.inf


class Rates(Protocol):
    """What a demand rests on."""

    @property
    def durations(self) -> ToolDurations:
        """The statistics that rates come from."""

    def tools_asked(self, program: Program) -> list[str]:
        """The tools whose statistics give the rate of a program."""

    def rate(self, now: float, program: Program, engine: EngineView) -> float:
        """How soon the KV of a program will be used again, 1/s."""

    def rate_bounds(
        self, now: float, program: Program, share: float, floor: float, ceiling: float
    ) -> tuple[float, float, float] | None:
        """Bounds of that for a paused program, and until what time they hold; None without."""

    def factor(self, program: Program, engine: EngineView) -> float:
        """Seconds that keeping one token of a program saves when it is used again."""

    def last_token(self, program: Program, engine: EngineView) -> tuple[float, float]:
        """The same for the last token of its KV, at least and at most."""


@dataclass(slots=True, eq=False)
class Standing:
    """A program and what was last found about it.

    Attributes:
        place: its key, and its arrival among equal keys.
        tokens: that it needs; `open_output`: 1 if its output comes on top, of unknown length.
        tool: whose statistics say so.
        look: number of the last look at it; what others left in the heaps is void.
        nibbled: part of its KV was given away in this pause.
    """

    program: Program
    place: tuple[float, int]
    tokens: float = 0.0
    open_output: int = 0
    tool: str | None = None
    look: int = 0
    nibbled: bool = False


@dataclass(slots=True)
class Group:
    """Paused programs whose rates come from one tool's histogram as it was built so many times."""

    members: dict[Program, Standing]
    builds: int


#: When or at what price an answer ends, which look found it, and whose it is.
Due = tuple[float, int, Standing]


class Demand:
    """The live programs in the order of their keys, with what they need.

    Attributes:
        worth, worthless: of paused programs whose KV surely is worth the price, as last
            `settle`d, or surely is not, to its last token, their keys.
    """

    def __init__(self, rates: Rates) -> None:
        self.worth: dict[Program, float] = {}
        self.worthless: dict[Program, float] = {}
        self._rates = rates
        self._standings: dict[Program, Standing] = {}
        # In the order of places.
        self._places: list[tuple[float, int]] = []
        self._order: list[Standing] = []
        self._needs = Needs()
        # To be looked at in the next round: what changed, and what may not hold any more.
        self._changed: dict[Program, Standing] = {}
        self._doubted: dict[Program, Standing] = {}
        # (when the bounds end), (price above which not worth), (−price below which worth).
        self._due: list[Due] = []
        self._rising: list[Due] = []
        self._falling: list[Due] = []
        self._groups: dict[str, Group] = {}
        self._version = -1
        self._looks = 0

    def __len__(self) -> int:
        return len(self._order)

    def key(self, program: Program) -> float | None:
        """The key of a program; None if it is not here."""
        standing = self._standings.get(program)
        return None if standing is None else standing.place[0]

    def programs(self) -> list[Program]:
        """In the order of their keys."""
        return [standing.program for standing in self._order]

    def enter(self, program: Program, key: float) -> None:
        """The program is live from now on, or has another key."""
        standing = Standing(program, (key, program.arrival))
        if (before := self._standings.get(program)) is not None:
            standing.tokens, standing.open_output = before.tokens, before.open_output
            self.leave(program)
        at = bisect_left(self._places, standing.place)
        self._standings[program] = standing
        self._places.insert(at, standing.place)
        self._order.insert(at, standing)
        self._needs.insert(at, standing.tokens, standing.open_output)
        self._changed[program] = standing

    def leave(self, program: Program) -> None:
        """The program is live no more."""
        standing = self._standings.pop(program, None)
        if standing is None:
            return
        self._forget(standing)
        self._changed.pop(program, None)
        at = bisect_left(self._places, standing.place)
        self._needs.remove(at)
        del self._places[at], self._order[at]
        self._tidy()

    def changed(self, program: Program) -> None:
        """The program does something else, or something else is known of it."""
        standing = self._standings.get(program)
        if standing is not None:
            standing.nibbled = False
            self._forget(standing)
            self._changed[program] = standing

    def nibbled(self, program: Program) -> None:
        """Part of a paused program's KV goes, so that its last token is cheaper than was asked."""
        standing = self._standings.get(program)
        if standing is not None:
            standing.nibbled = True
            self.worth.pop(program, None)

    def reset(self) -> None:
        """All of it is to be looked at again."""
        self._doubted.update(self._standings)

    def settle(self, now: float, price: float) -> None:
        """Forget the answers that may not hold now, at this price."""
        while self._due and self._due[0][0] <= now:
            self._void(heappop(self._due))
        while self._rising and self._rising[0][0] < price:
            self._void(heappop(self._rising))
        while self._falling and -self._falling[0][0] >= price:
            self._void(heappop(self._falling))
        durations = self._rates.durations
        if self._version == durations.version:
            return
        self._version = durations.version
        for tool, group in list(self._groups.items()):
            if durations.stale(tool) or durations.builds(tool) != group.builds:
                del self._groups[tool]
                for program, standing in group.members.items():
                    standing.tool = None
                    self._doubt(program, standing)

    def look_again(self, now: float, engine: EngineView, price: float) -> None:
        """Look at what changed, and at some of what may not hold any more, as there is time."""
        self.settle(now, price)
        doubted = dict(islice(self._doubted.items(), int(engine.looks)))
        for program, standing in (self._changed | doubted).items():
            if program.phase is _PAUSED:
                self._look(now, engine, price, standing)
            else:
                self._look_at_turn(standing)

    def gate(
        self, now: float, engine: EngineView, price: float, room: float, output_tokens: float
    ) -> float:
        """The key of the last active program, inf if all are.

        Active are the first programs, as many as fit the room, at least one. A real engine leaves
        paused programs to `look_again`: until then one that has just begun to pause keeps its
        context, and of the others what was found holds.

        Args:
            room: tokens.
            output_tokens: of an output of unknown length.
        """
        if engine.looks < math.inf:
            for program, standing in list(self._changed.items()):
                if program.phase is _PAUSED:
                    self._set(standing, program.context_tokens, 0)
                else:
                    self._look_at_turn(standing)
        else:
            self._look_at_all(now, engine, price, room, output_tokens)
        beyond = self._needs.first_beyond(room, output_tokens)
        return math.inf if beyond is None else self._places[beyond - 1][0]

    def _look_at_all(
        self, now: float, engine: EngineView, price: float, room: float, output_tokens: float
    ) -> None:
        """Look at everything that changed or may not hold any more, as far as it matters."""
        self.settle(now, price)
        stale = []
        for program, standing in list((self._changed | self._doubted).items()):
            if program.phase is not _PAUSED:
                self._look_at_turn(standing)
            elif self._asks_stale(program):
                stale.append(standing)
            else:
                self._look(now, engine, price, standing)
        needed, done = 0.0, 0
        for standing in sorted(stale, key=lambda standing: standing.place):
            at = bisect_left(self._places, standing.place)
            needed += self._needs.between(done, at, output_tokens)
            done = at
            if at > 1 and needed > room:
                break
            self._look(now, engine, price, standing)

    def _asks_stale(self, program: Program) -> bool:
        rates = self._rates
        return any(rates.durations.stale(tool) for tool in rates.tools_asked(program))

    def _look_at_turn(self, standing: Standing) -> None:
        """A program that waits or runs needs its prompt and output."""
        program = standing.program
        self._changed.pop(program, None)
        self._doubted.pop(program, None)
        output = program.max_tokens or 0
        tokens = program.prompt_tokens + output
        if tokens != standing.tokens or standing.open_output == (output > 0):
            self._set(standing, tokens, 0 if output else 1)

    def _look(self, now: float, engine: EngineView, price: float, standing: Standing) -> None:
        """Find out what a paused program needs; unless that holds for a while it is asked again."""
        program = standing.program
        self._forget(standing)
        self._changed.pop(program, None)
        rates = self._rates
        factor, last = rates.factor(program, engine), rates.last_token(program, engine)
        floor, ceiling = rate_worth(MARGIN * price, factor), rate_worth(price / MARGIN, last[1])
        for share in SHARES:
            bounds = rates.rate_bounds(now, program, share, floor, ceiling)
            if bounds is None:
                break
            least, most, until_s = bounds
            if factor * least >= price:
                self._set(standing, program.context_tokens, 0)
                if not standing.nibbled:
                    self.worth[program] = standing.place[0]
                self._holds(standing, self._rising, factor * least, until_s)
                return
            if factor * most < price:
                self._set(standing, 0, 0)
                self._holds(standing, self._falling, -factor * most, until_s)
                self._ask_of_last_token(standing, last, bounds, price)
                return
        worth = factor * rates.rate(now, program, engine) >= price
        self._set(standing, program.context_tokens if worth else 0, 0)
        self._doubted[program] = standing

    def _ask_of_last_token(
        self,
        standing: Standing,
        costs: tuple[float, float],
        bounds: tuple[float, float, float],
        price: float,
    ) -> None:
        """The mean token of a context is not worth its price; the last one, which costs more?"""
        (cheapest, dearest), (least, most, _until_s) = costs, bounds
        if dearest * most < price:
            self.worthless[standing.program] = standing.place[0]
            heappush(self._falling, (-dearest * most, standing.look, standing))
        elif cheapest * least >= price and not standing.nibbled:
            self.worth[standing.program] = standing.place[0]
            heappush(self._rising, (cheapest * least, standing.look, standing))

    def _holds(self, standing: Standing, heap: list[Due], threshold: float, until_s: float) -> None:
        """What was found holds until the price passes a threshold, or that time."""
        entry = (standing.look, standing)
        heappush(heap, (threshold, *entry))
        if until_s < math.inf:
            heappush(self._due, (until_s - EARLY_S, *entry))
        for tool in self._rates.tools_asked(standing.program):
            self._join(standing, tool)
        self._tidy()

    def _set(self, standing: Standing, tokens: float, open_output: int) -> None:
        if (standing.tokens, standing.open_output) != (tokens, open_output):
            standing.tokens, standing.open_output = tokens, open_output
            self._needs.replace(bisect_left(self._places, standing.place), tokens, open_output)

    def _join(self, standing: Standing, tool: str) -> None:
        builds = self._rates.durations.builds(tool)
        group = self._groups.get(tool)
        if group is None:
            group = self._groups[tool] = Group({}, builds)
        group.builds = builds
        group.members[standing.program] = standing
        standing.tool = tool

    def _forget(self, standing: Standing) -> None:
        """What was found about a program does not hold."""
        self._doubted.pop(standing.program, None)
        self._looks += 1
        standing.look = self._looks
        self.worth.pop(standing.program, None)
        self.worthless.pop(standing.program, None)
        if standing.tool is not None:
            members = self._groups[standing.tool].members
            del members[standing.program]
            if not members:
                del self._groups[standing.tool]
            standing.tool = None

    def _void(self, entry: Due) -> None:
        _at, look, standing = entry
        program = standing.program
        if look == standing.look and self._standings.get(program) is standing:
            self._doubt(program, standing)

    def _doubt(self, program: Program, standing: Standing) -> None:
        self.worth.pop(program, None)
        self.worthless.pop(program, None)
        self._doubted[program] = standing

    def _tidy(self) -> None:
        """Drop void entries where they have become most of a heap."""
        most = 6 * len(self._order) + SPARE_ENTRIES
        for heap in (self._due, self._rising, self._falling):
            if len(heap) > most:
                heap[:] = [
                    entry
                    for entry in heap
                    if entry[1] == entry[2].look
                    and self._standings.get(entry[2].program) is entry[2]
                ]
                heapify(heap)
