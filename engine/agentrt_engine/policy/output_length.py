"""How many tokens a turn will generate, as far as anybody knows."""

from __future__ import annotations

from agentrt_engine.policy.program import Program

#: Assumed before the first output was seen, tokens.
FIRST_GUESS = 200.0

#: Weight of a new output in the mean.
WEIGHT = 0.05


class OutputLength:
    """A moving mean over all programs, which stands in for a `max_tokens` that is not known."""

    def __init__(self) -> None:
        self._mean = FIRST_GUESS

    def observe(self, program: Program) -> None:
        """A turn of the program ended."""
        self._mean += WEIGHT * (program.output_tokens - self._mean)

    @property
    def mean(self) -> float:
        """Tokens; for `recall`."""
        return self._mean

    def recall(self, mean: float) -> None:
        """Go on from the mean of an earlier run."""
        self._mean = mean

    def expected(self, program: Program) -> float:
        """Tokens that the program's turn will generate."""
        return program.max_tokens or self._mean
