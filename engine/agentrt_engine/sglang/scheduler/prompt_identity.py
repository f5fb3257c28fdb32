"""Which program a request without a name belongs to: the one whose prompt it begins with."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentrt_engine.sglang.scheduler.programs import Live

#: Programs whose last prompts are remembered.
MAX_PROMPTS = 1024

#: A shorter prompt says nothing about who sent it.
MIN_TOKENS = 8


class PromptIdentity:
    """The last prompts of programs that came without a name, the latest last."""

    def __init__(self) -> None:
        self._prompts: OrderedDict[Live, array[int]] = OrderedDict()

    def longest(self, owner: str, prompt: array[int]) -> Live | None:
        """The owner's paused program with the longest prompt that this one begins with."""
        best: Live | None = None
        length = MIN_TOKENS - 1
        for live, earlier in self._prompts.items():
            if (
                length < len(earlier) <= len(prompt)
                and earlier[-1] == prompt[len(earlier) - 1]
                and live.owner == owner
                and not live.turns
                and earlier == prompt[: len(earlier)]
            ):
                best, length = live, len(earlier)
        return best

    def remember(self, live: Live, prompt: array[int]) -> None:
        """This is the program's last prompt."""
        self._prompts[live] = prompt
        self._prompts.move_to_end(live)
        if len(self._prompts) > MAX_PROMPTS:
            self._prompts.popitem(last=False)

    def forget(self, live: Live) -> None:
        """The program ended."""
        self._prompts.pop(live, None)
