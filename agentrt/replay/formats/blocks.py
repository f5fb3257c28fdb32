"""Hash ids: identities of the blocks of a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Block sizes a trace may have when it does not say; the first that fits is taken.
_LIKELY_SIZES = (512, 64, 16, 128, 256, 32, 1024, 2048)


class BlockNumbers:
    """Small numbers for the block identities of one trace.

    Equal identities of one scope get the same number, those of different scopes never. Numbers
    are shared objects, so that long prompts cost eight bytes per block.
    """

    def __init__(self) -> None:
        self._scopes: dict[str, dict[int, int]] = {}
        self._used = 0

    def number(self, ids: Sequence[int], *, scope: str = "") -> tuple[int, ...]:
        """The numbers of `ids`, in order."""
        numbers = self._scopes.setdefault(scope, {})
        numbered: list[int] = []
        for block in ids:
            number = numbers.get(block)
            if number is None:
                number = numbers[block] = self._used
                self._used += 1
            numbered.append(number)
        return tuple(numbered)


def common_blocks(first: Sequence[int], second: Sequence[int]) -> int:
    """How many leading blocks the two have in common."""
    shorter = min(len(first), len(second))
    if first[:shorter] == second[:shorter]:
        return shorter
    low, high = 0, shorter
    while high - low > 1:
        middle = (low + high) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle
    return low


class BlockSizeSearch:
    """Finds the block size of a trace that does not say it.

    `n` ids stand for at least `n − 1` whole blocks and for less than `n + 1`, whether the last,
    partial block has an id or not.
    """

    def __init__(self) -> None:
        self._above = 0.0
        self._below = math.inf

    def see(self, input_tokens: int, blocks: int) -> None:
        """A prompt has this many ids."""
        self._above = max(self._above, input_tokens / (blocks + 1))
        if blocks > 1:
            self._below = min(self._below, input_tokens / (blocks - 1))

    def value(self) -> int | None:
        """The block size; None if no usual one fits all prompts."""
        for size in _LIKELY_SIZES:
            if self._above < size < self._below:
                return size
        return None
