"""Tokens that programs need, one behind the other, and the first of them that a room has none for.

Programs come, go and need something else one at a time, and the room is the same for long. So the
search goes on from where it ended: the sum up to there is kept as everything changes.
"""

from __future__ import annotations


class Needs:
    """What programs need, by their position in some order.

    Each needs a number of tokens, whole ones, and maybe an output of unknown length on top.
    """

    def __init__(self) -> None:
        self._tokens: list[float] = []
        self._outputs: list[int] = []
        self._all_tokens = 0.0
        self._all_outputs = 0
        # Where the last search ended, and what those before it need.
        self._at = 0
        self._tokens_before = 0.0
        self._outputs_before = 0

    def insert(self, at: int, tokens: float, outputs: int) -> None:
        """A program comes before the one that has this position now.

        Args:
            outputs: of unknown length, 0 or 1.
        """
        self._tokens.insert(at, tokens)
        self._outputs.insert(at, outputs)
        if at < self._at:
            self._at += 1
        self._more(at, tokens, outputs)

    def remove(self, at: int) -> None:
        """The program with this position goes."""
        self._more(at, -self._tokens[at], -self._outputs[at])
        del self._tokens[at], self._outputs[at]
        if at < self._at:
            self._at -= 1

    def replace(self, at: int, tokens: float, outputs: int) -> None:
        """The program with this position needs something else."""
        self._more(at, tokens - self._tokens[at], outputs - self._outputs[at])
        self._tokens[at], self._outputs[at] = tokens, outputs

    def between(self, start: int, end: int, output_tokens: float) -> float:
        """Tokens that the programs from `start` up to `end` need."""
        return sum(self._tokens[start:end]) + output_tokens * sum(self._outputs[start:end])

    def first_beyond(self, room: float, output_tokens: float) -> int | None:
        """The first position, but not 0, up to which programs need more than the room.

        Args:
            room: tokens; output_tokens: of an output of unknown length.
        """
        if self._all_tokens + output_tokens * self._all_outputs <= room:
            return None
        tokens, outputs = self._tokens, self._outputs
        while self._at > 1 and self._before(output_tokens) > room:
            self._step(-1)
        while self._at < len(tokens):
            need = tokens[self._at] + output_tokens * outputs[self._at]
            if self._at and self._before(output_tokens) + need > room:
                return self._at
            self._step(1)
        return None

    def _before(self, output_tokens: float) -> float:
        return self._tokens_before + output_tokens * self._outputs_before

    def _step(self, by: int) -> None:
        passed = min(self._at, self._at + by)
        self._at += by
        self._tokens_before += by * self._tokens[passed]
        self._outputs_before += by * self._outputs[passed]

    def _more(self, at: int, tokens: float, outputs: int) -> None:
        self._all_tokens += tokens
        self._all_outputs += outputs
        if at < self._at:
            self._tokens_before += tokens
            self._outputs_before += outputs
