"""What a program may use, and what it has used."""

from __future__ import annotations

from dataclasses import dataclass, fields

from agentrt.errors import BudgetExceeded, DefinitionError
from agentrt.program import Program


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one program, checked before the call that would exceed them; None: no limit.

    Attributes:
        turns: model requests.
        tokens: of all prompts and replies together.
        seconds: since the program began, looked at before each model request and tool call.
        tool_calls: by the model and by the agent itself.

    Raises:
        DefinitionError: a limit is not above zero.
    """

    turns: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    tool_calls: int | None = None

    def __post_init__(self) -> None:
        """Refuse a budget that permits nothing."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise DefinitionError(
                    f"Budget: {field.name}={value}; expected more than 0, or None"
                )

    def most_turns(self, program: Program, wanted: int) -> int:
        """Turns of a loop that wants so many; at least one, which may be refused."""
        return wanted if self.turns is None else max(1, min(wanted, self.turns - program.turn))

    def may_call(self, program: Program) -> bool:
        """Whether a tool call is left."""
        return self.tool_calls is None or len(program.tool_calls) < self.tool_calls

    def check_turn(self, program: Program, max_tokens: int, now: float) -> int:
        """Before a model request: how many tokens it may generate.

        Raises:
            BudgetExceeded: it would exceed a limit.
        """
        self._check_time(program, now)
        if self.turns is not None and program.turn >= self.turns:
            raise self._exceeded(program, "turns", self.turns, program.turn)
        if self.tokens is None:
            return max_tokens
        used = program.input_tokens + program.output_tokens
        # The prompt is at least what the last turn left.
        last = program.turns[-1] if program.turns else None
        prompt = last.input_tokens + last.output_tokens if last else 0
        left = self.tokens - used - prompt
        if left < 1:
            raise self._exceeded(program, "tokens", self.tokens, used)
        return min(max_tokens, left)

    def check_tool(self, program: Program, now: float) -> None:
        """Before a tool call.

        Raises:
            BudgetExceeded: it would exceed a limit.
        """
        self._check_time(program, now)
        if not self.may_call(program):
            used = len(program.tool_calls)
            raise self._exceeded(program, "tool_calls", self.tool_calls, used)

    def _check_time(self, program: Program, now: float) -> None:
        elapsed = now - (program.started if program.started is not None else now)
        if self.seconds is not None and elapsed >= self.seconds:
            raise self._exceeded(program, "seconds", self.seconds, round(elapsed, 3))

    @staticmethod
    def _exceeded(
        program: Program, limit: str, allowed: float | None, used: float
    ) -> BudgetExceeded:
        return BudgetExceeded(
            f"{program.label} has used {used:,} of the {allowed:,} {limit} of its budget",
            hint="its record and history keep what was done; raise the budget to go on",
            limit=limit,
        )


#: A budget without limits.
NO_BUDGET = Budget()
