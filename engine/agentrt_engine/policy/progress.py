"""What an engine has seen of one running program, as the features of an estimate."""

from __future__ import annotations

from dataclasses import dataclass
from math import log1p

FEATURES = 14
#: Share of the newest turn in an exponential average.
RECENT = 0.25


@dataclass(slots=True)
class Progress:
    """One program so far; all but the counts as ln(1 + tokens) or ln(1 + seconds).

    Attributes:
        max_turns: the most turns it will take, None when nobody said so.
        turns: ended so far.
        work_s: engine seconds of those turns if nothing was lost.
        context_tokens: prompt and output of the turn before.
        tool: what the program waited for last; empty when that is not known.
        prompt, new: of the turn that waits or runs: its prompt, and the part of it beyond the
            context.
    """

    agent: str
    max_turns: int | None
    first_prompt: float
    prompt: float
    new: float
    recent_new: float
    turns: int = 0
    work_s: float = 0.0
    context_tokens: int = 0
    output_tokens: int = 0
    paused_s: float = 0.0
    tool: str = ""
    last_output: float = 0.0
    max_output: float = 0.0
    recent_output: float = 0.0
    last_pause: float = 0.0
    recent_pause: float = 0.0

    def turn_ended(self, prompt_tokens: int, output_tokens: int, work_s: float) -> None:
        """A turn was generated; the features of pauses and prompts stand until the next comes."""
        self.turns += 1
        self.work_s += work_s
        self.context_tokens = prompt_tokens + output_tokens
        self.output_tokens += output_tokens
        self.last_output = log1p(output_tokens)
        self.max_output = max(self.max_output, self.last_output)
        self.recent_output = self._blend(self.recent_output, self.last_output)

    def pause_ended(self, pause_s: float, prompt_tokens: int, tool: str) -> None:
        """The next turn has come."""
        self.tool = tool
        self.paused_s += pause_s
        self.last_pause = log1p(pause_s)
        self.recent_pause = self._blend(self.recent_pause, self.last_pause)
        self.prompt = log1p(prompt_tokens)
        self.new = log1p(max(prompt_tokens - self.context_tokens, 0))
        self.recent_new = self._blend(self.recent_new, self.new)

    def features(self, tool_effect: float) -> list[float]:
        """The numbers an estimate rests on; `tool_effect` is what the last tool adds to it."""
        turns = max(self.turns, 1)
        left = -1.0 if self.max_turns is None else log1p(max(self.max_turns - self.turns, 0))
        return [
            self.first_prompt,
            self.prompt,
            self.new,
            self.recent_new,
            float(self.turns),
            log1p(self.output_tokens / turns),
            self.last_output,
            self.max_output,
            self.recent_output,
            self.last_pause,
            log1p(self.paused_s / turns),
            self.recent_pause,
            left,
            tool_effect,
        ]

    def _blend(self, before: float, value: float) -> float:
        return value if self.turns == 1 else before + RECENT * (value - before)


def first_turn(agent: str, prompt_tokens: int, max_turns: int | None) -> Progress:
    """A program whose first turn, with this prompt, has just come."""
    prompt = log1p(prompt_tokens)
    return Progress(agent, max_turns, prompt, prompt, prompt, prompt)
