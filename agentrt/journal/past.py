"""What a journal says of one program."""

from __future__ import annotations

from collections import defaultdict, deque

from agentrt.journal.events import ProgramEnded, ToolEnded, ToolIntended, TurnEnded
from agentrt.program import ProgramState

#: Events of a program after it began.
Deed = TurnEnded | ToolIntended | ToolEnded | ProgramEnded


class Past:
    """The events of one program, to be taken one by one when it does the same again.

    Attributes:
        deeds: all of them, in order.
        elapsed_s: how long the program had been going.
    """

    def __init__(self) -> None:
        self.deeds: list[Deed] = []
        self.elapsed_s = 0.0
        self._end: ProgramEnded | None = None
        self._turns: deque[TurnEnded] = deque()
        self._calls: defaultdict[str, deque[ToolEnded]] = defaultdict(deque)
        self._intents: defaultdict[str, list[ToolIntended]] = defaultdict(list)

    def add(self, deed: Deed) -> None:
        """The next event."""
        self.deeds.append(deed)
        match deed:
            case TurnEnded():
                self._turns.append(deed)
            case ToolIntended():
                self._intents[deed.key].append(deed)
                return
            case ToolEnded():
                same = [call for call in self._calls[deed.key] if call.call_id != deed.call_id]
                self._calls[deed.key] = deque([*same, deed])
                self._intents[deed.key] = [
                    intent for intent in self._intents[deed.key] if intent.call_id != deed.call_id
                ]
            case ProgramEnded():
                self._end = deed
        self.elapsed_s = max(self.elapsed_s, deed.ended_s)

    @property
    def finished(self) -> ProgramEnded | None:
        """The end of a program that is over for good; a failed or cancelled one can go on."""
        end = self._end
        return end if end is not None and end.state is ProgramState.FINISHED else None

    def next_turn(self) -> TurnEnded | None:
        """The first answer not taken yet."""
        return self._turns[0] if self._turns else None

    def take_turn(self) -> None:
        """It was taken."""
        self._turns.popleft()

    def take_call(self, key: str) -> ToolEnded | None:
        """The result of a call, the first not taken yet of several that are alike."""
        calls = self._calls.get(key)
        return calls.popleft() if calls else None

    def take_intent(self, key: str) -> ToolIntended | None:
        """A call that began and of which nobody knows how it ended."""
        intents = self._intents.get(key)
        return intents.pop(0) if intents else None
