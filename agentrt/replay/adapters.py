"""The LoRA adapters of a trace's programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

import msgspec

from agentrt.errors import ReplayError
from agentrt.replay.trace_file import Trace
from agentrt_engine.wire.trace import ProgramRecord


def count_adapters(programs: Sequence[ProgramRecord]) -> int:
    """Different adapters that programs have."""
    return len({program.adapter for program in programs if program.adapter is not None})


def with_adapters(trace: Trace, number: int) -> Trace:
    """Give the programs of a trace that has no adapters one of `number`.

    In turn by arrival among the programs that begin alike, so that what could be shared is spread
    over all adapters. Each such group begins with another adapter.

    Raises:
        ReplayError: a program has one already.
    """
    for program in trace.programs:
        if program.adapter is not None:
            raise ReplayError(
                f"--adapters {number}: program {program.program_id} has an adapter in the trace, "
                f"{program.adapter!r}",
                hint="leave --adapters out",
            )
    groups: dict[Hashable, list[int]] = defaultdict(list)
    order = sorted(
        range(len(trace.programs)), key=lambda index: trace.programs[index].arrival_s or 0.0
    )
    for index in order:
        groups[_beginning(trace.programs[index])].append(index)
    programs = list(trace.programs)
    for first, group in enumerate(groups.values()):
        for place, index in enumerate(group):
            adapter = f"adapter-{(first + place) % number + 1}"
            programs[index] = msgspec.structs.replace(programs[index], adapter=adapter)
    return replace(trace, programs=programs)


def _beginning(program: ProgramRecord) -> Hashable:
    """What programs that begin alike have in common; None if nobody knows."""
    blocks = program.turns[0].hash_ids
    return program.prefix_id if program.prefix_id is not None else blocks[0] if blocks else None
