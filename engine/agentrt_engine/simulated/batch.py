"""The decoding turns of a batch, advanced many steps at a time.

All of them generate one token per step, so what a stretch of steps costs, when the first turn
ends and when the next page is needed have closed forms.
"""

from __future__ import annotations

import heapq
from math import sqrt
from typing import Generic, TypeVar

T = TypeVar("T")


class DecodeBatch(Generic[T]):
    """Turns that decode.

    Args:
        page: tokens of a page of KV memory.
        fixed: virtual time of a step, whatever is in it.
        per_token: virtual time per KV token and step.
        per_turn: virtual time per turn and step.

    Attributes:
        steps: of the engine so far, those without a decoding turn included.
        turns: decoding now.
        kv_tokens: theirs together.
    """

    def __init__(self, page: int, fixed: int, per_token: int, per_turn: int = 0) -> None:
        self.page = page
        self.fixed = fixed
        self.per_token = per_token
        self.per_turn = per_turn
        self.steps = 0
        self.turns = 0
        self.kv_tokens = 0
        # By steps modulo the page: turns that need another page in such a step.
        self._growing = [0] * page
        self._ends: list[tuple[int, int, T]] = []
        self._members: dict[int, tuple[T, int, int]] = {}
        self._serial = 0

    def join(self, turn: T, length: int, steps: int) -> int:
        """A turn of `length` KV tokens decodes for `steps` more steps; returns its ticket."""
        self._serial += 1
        self._members[self._serial] = (turn, length, self.steps)
        heapq.heappush(self._ends, (self.steps + steps, self._serial, turn))
        self.turns += 1
        self.kv_tokens += length
        # It stores a token at position length + i in step self.steps + i, and needs a page
        # for it where that position is a multiple of the page.
        self._growing[(self.steps - length) % self.page] += 1
        return self._serial

    def leave(self, ticket: int) -> int:
        """Take a turn out; returns its length now."""
        _turn, length, joined = self._members.pop(ticket)
        now = length + self.steps - joined
        self.turns -= 1
        self.kv_tokens -= now
        self._growing[(joined - length) % self.page] -= 1
        return now

    def pages_for(self, steps: int) -> int:
        """Pages that its turns need for that many steps."""
        rounds, rest = divmod(steps, self.page)
        growing, page, now = self._growing, self.page, self.steps
        return rounds * self.turns + sum(growing[(now + step) % page] for step in range(rest))

    def steps_to_end(self) -> int:
        """Steps until the first turn has generated its last token; it has at least one to go."""
        ends = self._ends
        while ends[0][1] not in self._members:
            heapq.heappop(ends)
        return ends[0][0] - self.steps

    def ended(self) -> list[T]:
        """The turns that have generated their last token; each is to be taken out."""
        done = []
        ends = self._ends
        while ends and ends[0][0] <= self.steps:
            _end, ticket, turn = heapq.heappop(ends)
            if ticket in self._members:
                done.append(turn)
        return done

    def steps_within(self, pages: int, limit: int) -> int:
        """The most steps, up to `limit`, that `pages` more pages are enough for."""
        rounds, pages = divmod(pages, self.turns)
        steps = rounds * self.page
        if steps >= limit:
            return limit
        growing, page, now = self._growing, self.page, self.steps
        while steps < limit:
            pages -= growing[(now + steps) % page]
            if pages < 0:
                break
            steps += 1
        return steps

    def duration(self, steps: int) -> int:
        """Virtual time of that many steps."""
        kv = steps * self.kv_tokens + self.turns * (steps * (steps - 1) // 2)
        return steps * (self.fixed + self.per_turn * self.turns) + self.per_token * kv

    def steps_until(self, duration: int, limit: int) -> int:
        """The fewest steps, up to `limit`, that take at least this long."""
        if self.duration(limit) <= duration:
            return limit
        # duration(s) = slope·s + bend·s², solved in floats and then corrected exactly.
        bend = self.per_token * self.turns / 2
        slope = self.fixed + self.per_turn * self.turns + self.per_token * self.kv_tokens - bend
        if bend:
            guess = int((sqrt(slope * slope + 4 * bend * duration) - slope) / (2 * bend))
        else:
            guess = int(duration / slope)
        guess = min(max(guess, 1), limit)
        while guess > 1 and self.duration(guess - 1) >= duration:
            guess -= 1
        while guess < limit and self.duration(guess) < duration:
            guess += 1
        return guess

    def advance(self, steps: int) -> None:
        """That many steps are done."""
        self.steps += steps
        self.kv_tokens += steps * self.turns
