"""Keeps what happened when, for pictures; a run without one is faster."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentrt_engine.outcome import Activity, Occupancy, PauseRecord, Segment, Timeline

#: Samples of the memory kept at most; beyond it every second one goes and the gap doubles.
MAX_SAMPLES = 20_000


@dataclass(slots=True)
class _Prediction:
    tool: str
    began_s: float
    p50_s: float | None
    p95_s: float | None


@dataclass(slots=True)
class Recorder:
    """Collects the timeline of one run."""

    _segments: list[Segment] = field(default_factory=list)
    _open: dict[int, Segment] = field(default_factory=dict)
    _samples: list[Occupancy] = field(default_factory=list)
    _gap_s: float = 0.0
    _pauses: list[PauseRecord] = field(default_factory=list)
    _predictions: dict[int, _Prediction] = field(default_factory=dict)

    def does(self, program: int, activity: Activity, turn: int, now: float) -> None:
        """The program does something else from now on."""
        self.stops(program, now)
        self._open[program] = Segment(program, activity, turn, now, now)

    def stops(self, program: int, now: float) -> None:
        """The program ended."""
        segment = self._open.pop(program, None)
        if segment is not None:
            segment.end_s = now
            self._segments.append(segment)

    def evicted(self, program: int, now: float) -> None:
        """KV of the program was evicted."""
        segment = self._open.get(program)
        if segment is not None and segment.evicted_s is None:
            segment.evicted_s = now

    def pauses(
        self, program: int, tool: str, now: float, p50_s: float | None, p95_s: float | None
    ) -> None:
        """The program waits for a tool, for as long as is predicted."""
        self._predictions[program] = _Prediction(tool, now, p50_s, p95_s)

    def returns(self, program: int, now: float) -> None:
        """The program's pause is over."""
        made = self._predictions.pop(program, None)
        if made is not None:
            self._pauses.append(PauseRecord(made.tool, now - made.began_s, made.p50_s, made.p95_s))

    def wants_sample(self, now: float) -> bool:
        """Whether the memory is to be sampled now."""
        return not self._samples or now - self._samples[-1].time_s >= self._gap_s

    def sample(self, occupancy: Occupancy) -> None:
        """How full the memory is."""
        self._samples.append(occupancy)
        if len(self._samples) > MAX_SAMPLES:
            span = self._samples[-1].time_s - self._samples[0].time_s
            del self._samples[1::2]
            self._gap_s = max(2 * self._gap_s, span / MAX_SAMPLES)

    def timeline(self) -> Timeline:
        """Everything so far, segments in the order of their start."""
        segments = sorted(self._segments, key=lambda segment: (segment.start_s, segment.program))
        return Timeline(segments, self._samples, self._pauses)
