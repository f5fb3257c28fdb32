"""A trace made ready for the simulator: lengths, pauses and shared prefixes per turn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.simulated.adapters import namespace, reuses_outputs
from agentrt_engine.simulated.clock import ticks
from agentrt_engine.simulated.shared_prefixes import Segment, SharedPrefixes
from agentrt_engine.wire.trace import ProgramRecord, TurnRecord

#: What a program is said to wait for when the trace does not name a tool.
USER = "user"
UNNAMED = "pause"


@dataclass(slots=True, eq=False)
class TurnPlan:
    """One turn as the simulator runs it.

    Attributes:
        input_tokens: its prompt.
        reusable_tokens: of them, what the turn before left.
        output_tokens: it generates, at least one.
        pause: until the next turn is asked for, virtual time.
        tool: what it waits for then.
        segments: what its prompt begins with that other programs share.
        waits_for: plans of children that run during the pause and must end before it does.
    """

    input_tokens: int
    reusable_tokens: int
    output_tokens: int
    pause: int
    tool: str
    segments: tuple[Segment, ...] = ()
    waits_for: tuple[ProgramPlan, ...] = ()


@dataclass(slots=True, eq=False)
class ProgramPlan:
    """One program as the simulator runs it.

    Attributes:
        is_child: it starts when its parent comes to wait for it, not at an arrival.
        largest_turn: most tokens that one turn of it needs at once.
    """

    program_id: str
    agent: str
    arrival_s: float | None
    max_turns: int | None
    turns: list[TurnPlan] = field(default_factory=list)
    is_child: bool = False

    @property
    def largest_turn(self) -> int:
        return max(turn.input_tokens + turn.output_tokens for turn in self.turns)

    def largest_of_family(self) -> int:
        """`largest_turn` of it and of all its children."""
        children = (child for turn in self.turns for child in turn.waits_for)
        return max([self.largest_turn, *(child.largest_of_family() for child in children)])


def plan_workload(
    records: Sequence[ProgramRecord],
    *,
    page: int,
    pause_cap_s: float | None = None,
    sharing: LoraSharing = LoraSharing.OFF,
) -> list[ProgramPlan]:
    """The programs of a trace, children below their parents.

    Args:
        records: valid programs (see the trace readers); ids are unique.
        page: tokens of a page of KV memory.
        pause_cap_s: longer pauses are cut to this.
        sharing: what programs with different adapters share; all of them ask for it.

    Returns:
        the programs without a parent that waits for them, in the order of the trace.
    """
    prefixes = SharedPrefixes(page)
    for index, record in enumerate(records):
        for turn in record.turns:
            prefixes.add(index, _blocks(record, turn, sharing))
    plans = {record.program_id: _plan(record, prefixes, pause_cap_s, sharing) for record in records}
    for record in records:
        for turn, turn_plan in zip(record.turns, plans[record.program_id].turns, strict=True):
            turn_plan.waits_for = tuple(plans[child] for child in turn.waits_for)
            for child in turn_plan.waits_for:
                child.is_child = True
    return [plan for plan in plans.values() if not plan.is_child]


def _plan(
    record: ProgramRecord,
    prefixes: SharedPrefixes,
    pause_cap_s: float | None,
    sharing: LoraSharing,
) -> ProgramPlan:
    plan = ProgramPlan(record.program_id, record.agent, record.arrival_s, record.max_turns)
    outputs_stay = reuses_outputs(sharing, record.adapter)
    context = 0
    for turn in record.turns:
        pause_s = _own_pause_s(turn)
        if pause_cap_s is not None:
            pause_s = min(pause_s, pause_cap_s)
        plan.turns.append(
            TurnPlan(
                input_tokens=turn.input_tokens,
                reusable_tokens=min(turn.input_tokens - turn.new_tokens, context),
                output_tokens=max(1, turn.output_tokens),
                pause=ticks(pause_s),
                tool=_awaited(turn),
                segments=prefixes.path(_blocks(record, turn, sharing)),
            )
        )
        context = turn.input_tokens + (turn.output_tokens if outputs_stay else 0)
    return plan


def _own_pause_s(turn: TurnRecord) -> float:
    """The pause but for the children, which take their own time in the simulation."""
    if turn.waits_for:
        return max((tool.seconds or 0.0 for tool in turn.tools), default=0.0)
    return turn.pause_s or 0.0


def _awaited(turn: TurnRecord) -> str:
    """The slowest of the tools a turn called, which is the one a pause waits for."""
    if turn.tools:
        return max(turn.tools, key=lambda tool: tool.seconds or 0.0).name
    return USER if turn.pause_kind == "user" else UNNAMED


def _blocks(
    record: ProgramRecord, turn: TurnRecord, sharing: LoraSharing
) -> list[tuple[Hashable, int]]:
    """The whole blocks of a prompt that other programs may have too, by identity."""
    place = namespace(sharing, record.adapter)
    if turn.hash_ids and record.block_tokens:
        whole = turn.input_tokens // record.block_tokens
        return [((place, block), record.block_tokens) for block in turn.hash_ids[:whole]]
    tokens = record.prefix_tokens
    if record.prefix_id is not None and tokens and tokens <= turn.input_tokens:
        # A block is all there or not: one of another length is another block.
        return [((place, record.prefix_id, tokens), tokens)]
    return []
