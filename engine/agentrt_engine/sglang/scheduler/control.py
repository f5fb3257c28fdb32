"""Answers of the scheduler to the HTTP process."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agentrt_engine.errors import SettingError
from agentrt_engine.sglang.messages import Answer, Ask
from agentrt_engine.sglang.scheduler.core import ProgramScheduler
from agentrt_engine.wire.control import Learned, OwnedHint, SnapshotRequest
from agentrt_engine.wire.question import Question


class Control:
    """Answers questions; every rank is asked, rank 0 is heard."""

    def __init__(self, programs: ProgramScheduler, max_running: int) -> None:
        self._programs = programs
        self._max_running = max_running
        self._answers: dict[str, Callable[[bytes], bytes]] = {
            Question.HINTS: self._hints,
            Question.SNAPSHOT: self._snapshot,
            Question.LEARNED: self._learned,
            Question.LEARN: self._learn,
        }

    def answer(self, ask: Ask) -> Answer:
        """The answer to a question."""
        return Answer(rid=ask.rid, payload=self._answers[ask.question](ask.payload))

    def _hints(self, payload: bytes) -> bytes:
        hints = msgspec.json.decode(payload, type=list[OwnedHint])
        return msgspec.json.encode([self._programs.hints.apply(hint) for hint in hints])

    def _snapshot(self, payload: bytes) -> bytes:
        asked = msgspec.json.decode(payload, type=SnapshotRequest)
        return msgspec.json.encode(self._programs.snapshot(asked, self._max_running))

    def _learned(self, _payload: bytes) -> bytes:
        return msgspec.json.encode(self._programs.learned())

    def _learn(self, payload: bytes) -> bytes:
        try:
            self._programs.recall(msgspec.json.decode(payload, type=Learned))
        except (SettingError, msgspec.DecodeError) as error:
            return str(error).encode()
        return b""
