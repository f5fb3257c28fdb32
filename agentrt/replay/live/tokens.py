"""The token ids of a run: prompts with the structure of a trace and contents of no meaning.

Contents follow from a text, so that every engine gets the same ones and no two runs share any.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence

from agentrt_engine.simulated.shared_prefixes import Segment
from agentrt_engine.simulated.workload import ProgramPlan, TurnPlan

#: Of a model that does not say: the smallest vocabulary that models in use have.
DEFAULT_VOCABULARY = 32_000
#: Ends of the vocabulary that are left out, where special tokens are.
_MARGIN = 1000


def usable_ids(vocabulary: int) -> range:
    """Ids that stand for ordinary tokens in a vocabulary of this size."""
    margin = min(_MARGIN, vocabulary // 8)
    return range(margin, min(vocabulary, DEFAULT_VOCABULARY) - margin)


class TokenSource:
    """Makes the prompts of one run.

    Args:
        plans: of all programs; their segments are numbered in this order.
        content: what the ids follow from.
        ids: those to draw from; fewer than 65,536.
    """

    def __init__(self, plans: Sequence[ProgramPlan], content: str, ids: range) -> None:
        self._content = content
        self._ids = ids
        self._numbers: dict[Segment, int] = {}
        self._segments: dict[Segment, list[int]] = {}
        for plan in plans:
            for segment in _segments(plan):
                self._numbers.setdefault(segment, len(self._numbers))

    def prompt(self, turn: TurnPlan, context: Sequence[int], key: str) -> list[int]:
        """The prompt of a turn.

        It begins with the first `reusable_tokens` of the context, goes on with what it shares
        with other programs, and ends in tokens that occur nowhere else. Where shared tokens lie
        in the reusable part, the context has them already.

        Args:
            context: prompt and output of the turn before.
            key: names the turn; another key gives other tokens.
        """
        kept = min(turn.reusable_tokens, len(context))
        prompt = list(context[:kept])
        for segment in turn.segments:
            if segment.end > len(prompt):
                prompt += self._shared(segment)[len(prompt) - segment.start :]
        del prompt[turn.input_tokens :]
        fresh = self.draw(key, turn.input_tokens - len(prompt))
        if fresh and len(prompt) == kept < len(context) and fresh[0] == context[kept]:
            # By chance the first new token is the next one of the context.
            fresh[0] = self._after(fresh[0])
        return prompt + fresh

    def draw(self, key: str, count: int) -> list[int]:
        """So many ids that follow from the key."""
        rng = random.Random(f"{self._content}\n{key}")
        first, size = self._ids.start, len(self._ids)
        # Bytes at once and not number by number: a long prompt must not hold up the requests.
        return [first + number % size for number in array("H", rng.randbytes(2 * count))]

    def _after(self, token: int) -> int:
        return self._ids[(self._ids.index(token) + 1) % len(self._ids)]

    def _shared(self, segment: Segment) -> list[int]:
        tokens = self._segments.get(segment)
        if tokens is None:
            key = f"shared {self._numbers[segment]}"
            tokens = self._segments[segment] = self.draw(key, segment.end - segment.start)
        return tokens


def _segments(plan: ProgramPlan) -> Iterator[Segment]:
    for turn in plan.turns:
        yield from turn.segments
        for child in turn.waits_for:
            yield from _segments(child)
