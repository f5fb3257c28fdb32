"""`continuum`: a TTL learned from how long each tool took.

At the end of a turn that calls tool f the program is pinned for

    τ* = argmax over τ ∈ {0} ∪ {recorded durations of f} of P(τ, f)·(T·η + R) − τ

P: empirical distribution of f's durations. R: seconds to prefill the context again. T: mean wait
in the queue of the latest turns whose KV had been evicted. η: how much of that wait a pin saves
for good, see `Eta`. Before 100 durations were seen, τ = max(0, ln(T + R)), which is the same with a
duration ~ Exp(1) and η = 1; a tool with fewer than 100 uses the durations of all tools.
Source: Continuum (arXiv 2511.02230).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from agentrt_engine.policy.empirical import EmpiricalDurations
from agentrt_engine.policy.learned import VERSION, check_version, field, positive, whole
from agentrt_engine.policy.pinning import Pinning, Reading
from agentrt_engine.policy.program import Program, Turn
from agentrt_engine.policy.protocol import EngineView

#: Durations that the learned rule needs (the paper's K).
COLD_START = 100

#: Waits of evicted turns that T is the mean of.
WAITS = 100


class Eta(StrEnum):
    """How the memory of turn counts enters."""

    #: η = 1: a wait avoided is a wait saved. The stronger form on every trace tried.
    FULL = "full"
    #: η = −corr(k, N − k) over the turns k of finished programs of N turns: 1 when every program
    #: takes as many turns, 0 when the past tells nothing about what is left.
    LEARNED = "learned"


class Continuum(Pinning):
    """Learned pins.

    Args:
        reading: when pins yield to a blocked head.
        eta: how much of the wait a pin saves.
    """

    name = "continuum"

    def __init__(self, reading: Reading = Reading.STRICT, eta: Eta = Eta.FULL) -> None:
        super().__init__(reading)
        self._eta = eta
        self._durations = EmpiricalDurations()
        self._waits: deque[float] = deque(maxlen=WAITS)
        self._turns = TurnCorrelation()

    def pin_s(self, program: Program, engine: EngineView) -> float:
        costs, length = engine.costs, program.context_tokens
        again_s = costs.prefill(0, length)
        if costs.host_s is not None:
            again_s = min(again_s, costs.host_s * length + costs.host_latency_s)
        wait_s = sum(self._waits) / len(self._waits) if self._waits else 0.0
        eta = self._turns.eta() if self._eta is Eta.LEARNED else 1.0
        if program.expected is not None:
            return program.expected.best_ttl(wait_s * eta + again_s)
        if self._durations.count() < COLD_START:
            total = wait_s + again_s
            return max(0.0, math.log(total)) if total > 0 else 0.0
        tool = program.tool
        if tool is None or self._durations.count(tool) < COLD_START:
            tool = None
        return self._durations.best_ttl(tool, wait_s * eta + again_s)

    def turn_started(self, now: float, turn: Turn, *, cached: bool) -> None:
        super().turn_started(now, turn, cached=cached)
        if turn.evicted:
            self._waits.append(now - turn.queued_s)

    def pause_ended(self, now: float, program: Program) -> None:
        super().pause_ended(now, program)
        if program.tool is not None:
            self._durations.observe(program.tool, program.paused_for(now))

    def program_ended(self, now: float, program: Program) -> None:
        super().program_ended(now, program)
        self._turns.observe(program.turns)

    def learned(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "durations": self._durations.snapshot(),
            "waits_s": list(self._waits),
            "turns": self._turns.sums,
        }

    def recall(self, learned: Mapping[str, Any]) -> None:
        check_version(learned)
        durations = field(learned, "durations", EmpiricalDurations.restore)
        waits_s = field(learned, "waits_s", lambda waits: [positive(wait) for wait in waits])
        turns = field(learned, "turns", TurnCorrelation)
        self._durations, self._turns = durations, turns
        self._waits = deque(waits_s, maxlen=WAITS)


class TurnCorrelation:
    """η = −corr(k, N − k) over the turns k of finished programs of N turns.

    Args:
        sums: of one that had observed some; ValueError when they are none.
    """

    def __init__(self, sums: Sequence[object] = (0, 0, 0, 0, 0, 0)) -> None:
        numbers = [whole(each) for each in sums]
        self._n, self._served, self._left, self._served_2, self._left_2, self._both = numbers

    @property
    def sums(self) -> list[int]:
        """All that it knows."""
        return [self._n, self._served, self._left, self._served_2, self._left_2, self._both]

    def observe(self, turns: int) -> None:
        """A program ended after so many turns."""
        total = turns * (turns + 1) // 2
        squares = turns * (turns + 1) * (2 * turns + 1) // 6
        self._n += turns
        self._served += total
        self._left += total - turns
        self._served_2 += squares
        self._left_2 += squares - 2 * total + turns
        self._both += turns * total - squares

    def eta(self) -> float:
        """1 when every program takes as many turns, 0 when the past tells nothing; 1 unknown."""
        n = self._n
        spread = (n * self._served_2 - self._served**2) * (n * self._left_2 - self._left**2)
        if spread <= 0:
            return 1.0
        correlation = (n * self._both - self._served * self._left) / math.sqrt(spread)
        return min(1.0, max(0.0, -correlation))
