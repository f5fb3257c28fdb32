"""`guard` with pauses predicted from history and arguments: does it end programs sooner?

agentrt replay TRACE --policy guard,docs/benchmarks/predicting_guard.py,oracle-pauses …
"""

from __future__ import annotations

from agentrt_engine.policy.expectation import Expectation
from agentrt_engine.policy.guard import Guard
from agentrt_engine.policy.prediction import Call, ToolPredictor
from agentrt_engine.policy.program import Program


class PredictingGuard(Guard):
    """Expects of every pause what `ToolPredictor` says of it."""

    name = "predicting-guard"

    def __init__(self) -> None:
        super().__init__()
        self._predictor = ToolPredictor()
        self._calls: dict[Program, Call] = {}

    def tool_started(self, now: float, program: Program, tool: str) -> None:
        call = Call(program.program_id, tool, output_tokens=program.output_tokens)
        self._calls[program] = call
        program.expected = Expectation.of(self._predictor.quantiles(call))
        super().tool_started(now, program, tool)

    def pause_ended(self, now: float, program: Program) -> None:
        super().pause_ended(now, program)
        self._predictor.observe(self._calls.pop(program), program.paused_for(now))
        program.expected = None

    def program_ended(self, now: float, program: Program) -> None:
        super().program_ended(now, program)
        self._predictor.forget(program.program_id)
