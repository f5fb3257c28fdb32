"""Keeps what a run came to, turn by turn."""

from __future__ import annotations

from agentrt.replay.live.arrived import Arrived
from agentrt.replay.live.engine import Timed
from agentrt.replay.live.outputs import TurnOutput
from agentrt.replay.live.run import Failure, LiveRun
from agentrt.replay.live.wire import Answer
from agentrt_engine.outcome import Activity, PauseRecord, Segment, Timeline


class Tally:
    """Counts into the result of a run.

    Args:
        record: keep a timeline.
        outputs: keep what was generated.
    """

    def __init__(self, result: LiveRun, *, record: bool, outputs: bool) -> None:
        self.result = result
        self._outputs = outputs
        self._timeline = Timeline() if record else None

    def arrived(self, program: Arrived) -> None:
        """A program has come."""
        self.result.outcome.programs.append(program.outcome)
        self.result.works.append(program.work)

    def sent(self, lag_s: float) -> None:
        """A request was sent, so much later than it was due."""
        self.result.lags_s.append(max(0.0, lag_s))

    def failed(self, program: Arrived, turn: int, reason: str) -> None:
        """A program ends without getting to its end."""
        self.result.failures.append(Failure(program.name, turn, reason))

    def tokens(
        self, program: Arrived, number: int, timed: Timed, *, reusable: int, possible: int
    ) -> None:
        """Count the tokens of a turn that has ended.

        Args:
            reusable: of its prompt, surely computed before it was prefilled.
            possible: the same with what other requests were computing just then.
        """
        outcome, result = program.outcome, self.result
        turn, answer = program.plan.turns[number], timed.answer
        if answer.cached_tokens is None:
            result.cached_known = False
        else:
            hits = min(answer.cached_tokens, max(reusable, possible))
            reusable = max(reusable, hits)
            outcome.hit_tokens += hits
            result.excess_tokens += answer.cached_tokens - hits
        outcome.turns += 1
        outcome.output_tokens += answer.output_tokens
        outcome.reusable_tokens += reusable
        outcome.new_tokens += turn.input_tokens - reusable
        result.short_turns += answer.output_tokens < turn.output_tokens
        if self._outputs:
            result.outputs.append(self._output(program, number, timed.answer))

    def _output(self, program: Arrived, number: int, answer: Answer) -> TurnOutput:
        return TurnOutput(
            engine=self.result.outcome.policy,
            seed=self.result.outcome.seed,
            repeat=self.result.repeat,
            program=program.name,
            turn=number,
            prompt_tokens=program.plan.turns[number].input_tokens,
            cached_tokens=answer.cached_tokens,
            output_tokens=answer.output_tokens,
            output_ids=answer.output_ids,
        )

    def times(
        self, program: Arrived, number: int, *, due: float, first: float, end: float, queue: float
    ) -> None:
        """Keep the times of a turn, as the client saw them.

        Args:
            due: when it was asked for; first: its first token; end: its last one.
            queue: seconds it waited in the engine, as far as the engine says.
        """
        program.outcome.ttft_s.append(first - due)
        program.work.decode_s += end - first
        queued = min(due + queue, first)
        if queue:
            self._did(program, Activity.QUEUED, number, due, queued)
        self._did(program, Activity.PREFILL, number, queued, first)
        self._did(program, Activity.DECODE, number, first, end)

    def paused(self, program: Arrived, number: int, begin: float, end: float) -> None:
        """Keep a pause after a turn."""
        program.work.paused_s += end - begin
        turn = program.plan.turns[number]
        kind = Activity.CHILDREN if turn.waits_for else Activity.TOOL
        self._did(program, kind, number, begin, end)
        if self._timeline is not None and not turn.waits_for:
            self._timeline.pauses.append(PauseRecord(turn.tool, end - begin, None, None))

    def finish(self, seconds: float) -> LiveRun:
        """The run is over after so many seconds."""
        outcome = self.result.outcome
        outcome.wall_s = seconds
        outcome.makespan_s = max((p.end_s or 0.0 for p in outcome.programs), default=0.0)
        if self._timeline is not None:
            self._timeline.segments.sort(key=lambda segment: (segment.start_s, segment.program))
            outcome.timeline = self._timeline
        return self.result

    def _did(
        self, program: Arrived, activity: Activity, turn: int, start: float, end: float
    ) -> None:
        if self._timeline is not None:
            self._timeline.segments.append(Segment(program.index, activity, turn, start, end))
