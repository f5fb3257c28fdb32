"""What the result of a live replay depends on, besides programs and engines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentrt.replay.live.engine import DEFAULT_TIMEOUT_S
from agentrt.replay.live.run import HintMode
from agentrt.replay.live.tokens import DEFAULT_VOCABULARY


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """How programs are replayed, as a user describes it.

    Attributes:
        time_scale: pauses and gaps between arrivals are multiplied by it, after `pause_cap_s`.
        token_scale: all token counts are multiplied by it.
        max_context: tokens of the largest turn that is replayed; None: what the engines say.
        repeats: of each seed, each with other token ids.
        flush: empty the caches before each run.
        hints: None: of tools, to engines with our plug-in.
    """

    time_scale: float = 1.0
    token_scale: float = 1.0
    max_context: int | None = None
    pause_cap_s: float | None = None
    repeats: int = 1
    flush: bool = False
    hints: HintMode | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    vocabulary: int = DEFAULT_VOCABULARY
    model: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For a result document."""
        return {
            "time_scale": self.time_scale,
            "token_scale": self.token_scale,
            "max_context": self.max_context,
            "pause_cap_s": self.pause_cap_s,
            "repeats": self.repeats,
            "flush": self.flush,
            "hints": self.hints,
            "timeout_s": self.timeout_s,
            "vocabulary": self.vocabulary,
        }

    def flags(self) -> Iterator[str]:
        """Words of a command line that gives the same settings."""
        if self.model is not None:
            yield from ("--model", self.model)
        if self.time_scale != 1:
            yield from ("--time-scale", f"{self.time_scale:.12g}")
        if self.token_scale != 1:
            yield from ("--scale-tokens", f"{self.token_scale:.12g}")
        if self.max_context is not None:
            yield from ("--max-context", str(self.max_context))
        if self.pause_cap_s is not None:
            yield from ("--pause-cap", f"{self.pause_cap_s:.12g}")
        if self.repeats != 1:
            yield from ("--repeats", str(self.repeats))
        if self.flush:
            yield "--flush"
        if self.hints is not None:
            yield from ("--hints", self.hints)
        if self.timeout_s != DEFAULT_TIMEOUT_S:
            yield from ("--timeout", f"{self.timeout_s:.12g}")
        if self.vocabulary != DEFAULT_VOCABULARY:
            yield from ("--vocab", str(self.vocabulary))
