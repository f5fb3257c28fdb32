"""`thunder`: whole programs pause while their working sets together exceed the memory.

A working set is the context of a paused program and the prompt and output of any other. While
they do not all fit, programs are paused, the smallest first; when there is room again they resume,
best fit decreasing. Order: requests first come first served. Source: ThunderAgent; re-implemented
from its description.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from agentrt_engine.policy.base import BasePolicy, least_recently_used, take
from agentrt_engine.policy.learned import VERSION, check_version, field, positive
from agentrt_engine.policy.output_length import OutputLength
from agentrt_engine.policy.program import Context, Phase, Program, Turn
from agentrt_engine.policy.protocol import EngineView, Gate, Victim


class Thunder(BasePolicy):
    """Pause and resume of programs by working set."""

    name = "thunder"

    def __init__(self) -> None:
        self._active: set[Program] = set()
        self._output = OutputLength()

    def open_gate(self, now: float, engine: EngineView) -> None:
        size = {program: self._working_set(program) for program in engine.programs.values()}
        room = engine.capacity_tokens - sum(size[program] for program in self._active)
        if room < 0:
            for program in sorted(self._active, key=lambda p: (size[p], -p.arrival)):
                if room >= 0:
                    break
                if program.phase is not Phase.RUNNING:
                    self._active.discard(program)
                    room += size[program]
        inactive = [program for program in size if program not in self._active]
        for program in sorted(inactive, key=lambda p: (-size[p], p.arrival)):
            if size[program] <= room:
                self._active.add(program)
                room -= size[program]
        if engine.running or any(program.phase is not Phase.PAUSED for program in self._active):
            return
        # All that are active wait, perhaps for others: one of those has to start.
        waiting = (program for program in inactive if program.phase is not Phase.PAUSED)
        self._active.update(islice(waiting, 1))

    def _working_set(self, program: Program) -> float:
        if program.phase is Phase.PAUSED:
            return program.context_tokens
        return program.prompt_tokens + self._output.expected(program)

    def admit(self, now: float, turn: Turn, engine: EngineView) -> Gate:
        return Gate.OPEN if turn.program in self._active else Gate.LATER

    def reclaim(
        self,
        now: float,
        turn: Turn,
        need: int,
        idle: Collection[Context],
        engine: EngineView,
        *,
        backfill: bool,
    ) -> list[Victim] | None:
        order = least_recently_used(idle)
        return take(sorted(order, key=lambda context: context.program in self._active), need)

    def turn_ended(self, now: float, program: Program) -> None:
        self._output.observe(program)

    def program_ended(self, now: float, program: Program) -> None:
        self._active.discard(program)

    def learned(self) -> dict[str, Any]:
        return {"version": VERSION, "output_tokens": self._output.mean}

    def recall(self, learned: Mapping[str, Any]) -> None:
        check_version(learned)
        self._output.recall(field(learned, "output_tokens", positive))
