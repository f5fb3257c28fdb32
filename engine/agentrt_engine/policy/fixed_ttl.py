"""`fixed-ttl`: as Continuum, every pause pinned for the same time.

Source: the code released with Continuum (arXiv 2511.02230), which pins for 2 s.
"""

from __future__ import annotations

from agentrt_engine.policy.pinning import Pinning, Reading
from agentrt_engine.policy.program import Program
from agentrt_engine.policy.protocol import EngineView


class FixedTtl(Pinning):
    """A constant TTL.

    Args:
        seconds: the TTL.
    """

    name = "fixed-ttl"

    def __init__(self, seconds: float = 2.0, reading: Reading = Reading.STRICT) -> None:
        super().__init__(reading)
        if seconds < 0:
            raise ValueError(f"seconds={seconds}: expected at least 0")
        self._seconds = seconds

    def pin_s(self, program: Program, engine: EngineView) -> float:
        return self._seconds
