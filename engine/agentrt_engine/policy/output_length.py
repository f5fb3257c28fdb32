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

    def expected(self, program: Program) -> float:
        """Tokens that the program's turn will generate."""
        return program.max_tokens or self._mean
