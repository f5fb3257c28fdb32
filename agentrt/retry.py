"""When a tool call that failed is tried again."""

from __future__ import annotations

from dataclasses import dataclass

from agentrt.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Retry:
    """Further attempts of a tool call, each after a longer pause.

    Attributes:
        attempts: at most, the first included.
        on: exceptions after which another attempt is made; an attempt whose time was up counts
            as a `TimeoutError`.
        delay: seconds before the second attempt.
        factor: by how much each further delay is longer, up to `longest` seconds.
        jitter: share of a delay that is left to chance, so that many callers do not come back
            at once.

    Raises:
        DefinitionError: a number makes no sense.
    """

    attempts: int = 3
    on: tuple[type[Exception], ...] = (Exception,)
    delay: float = 0.5
    factor: float = 2.0
    longest: float = 30.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what would never or forever retry."""
        for name, value, expected, fits in (
            ("attempts", self.attempts, "at least 2", self.attempts >= 2),
            ("delay", self.delay, "0 s or more", self.delay >= 0),
            ("factor", self.factor, "at least 1", self.factor >= 1),
            ("longest", self.longest, "0 s or more", self.longest >= 0),
            ("jitter", self.jitter, "from 0 to 1", 0 <= self.jitter <= 1),
        ):
            if not fits:
                raise DefinitionError(f"Retry: {name}={value}; expected {expected}")

    def follows(self, attempt: int, error: Exception) -> bool:
        """Whether another attempt is made after this one, counted from 1."""
        return attempt < self.attempts and isinstance(error, self.on)

    def pause_s(self, attempt: int, chance: float) -> float:
        """Seconds until the next attempt.

        Args:
            attempt: the one that failed, from 1.
            chance: from 0 up to 1.
        """
        longest = min(self.longest, self.delay * self.factor ** (attempt - 1))
        return longest * (1 - self.jitter * chance)
