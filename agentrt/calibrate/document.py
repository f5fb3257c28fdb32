"""A calibration as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agentrt.calibrate.fit import Fit, quality
from agentrt.calibrate.target import ServerFacts
from agentrt.calibrate.work import Kind, Measurement
from agentrt_engine.simulated.profile import CostProfile

DOCUMENT_FORMAT = "agentrt.calibration.v1"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration found.

    Attributes:
        seconds: it took.
    """

    facts: ServerFacts
    measurements: Sequence[Measurement]
    fit: Fit
    profile: CostProfile
    notes: Sequence[str]
    seed: int
    seconds: float

    def of_kind(self, kind: Kind) -> list[Measurement]:
        """The measurements of a kind."""
        return [each for each in self.measurements if each.case.kind is kind]

    def document(self) -> dict[str, Any]:
        """Everything, times in seconds."""
        qualities = {
            kind.value: asdict(quality(self.fit, measured))
            for kind in Kind
            if (measured := self.of_kind(kind))
        }
        return {
            "format": DOCUMENT_FORMAT,
            "server": asdict(self.facts),
            "profile": asdict(self.profile),
            "request_s": self.fit.request_s,
            "errors": qualities,
            "measurements": [self._measurement(each) for each in self.measurements],
            "notes": list(self.notes),
            "seed": self.seed,
            "seconds": self.seconds,
        }

    def _measurement(self, measurement: Measurement) -> dict[str, Any]:
        case = measurement.case
        return {
            "kind": case.kind.value,
            "batch": case.batch,
            "context_tokens": case.context,
            "new_tokens": case.new,
            "measured_s": measurement.seconds,
            "predicted_s": self.fit.predict(measurement.work),
            "samples_s": list(measurement.samples_s),
            "work": asdict(measurement.work),
        }
