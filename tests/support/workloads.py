"""Small workloads that meet every corner of the simulator, made from a seed.

Heavy-tailed pauses and pauses of zero, prompts from one token to most of the memory, prompts
that keep less than the turn before left (stale tails), prefixes that programs share by name and
by block, and parents that wait for children.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from agentrt_engine.wire.trace import PauseKind, ProgramRecord, ToolRecord, TurnRecord

TOOLS = ("bash", "edit", "pytest", "search")
PREFIX_TOKENS = {"tiny": 20, "system": 100, "long": 260}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a workload is made of.

    Attributes:
        largest: tokens of the largest turn, prompt and output.
        shares: whether programs share prefixes.
        children: whether programs wait for others.
    """

    programs: int = 12
    largest: int = 900
    most_turns: int = 6
    longest_output: int = 150
    shares: bool = True
    children: bool = True


def workload(seed: int, shape: Shape | None = None) -> list[ProgramRecord]:
    """Valid programs; arrivals are about one per second."""
    shape = shape or Shape()
    rng = random.Random(seed)
    blocks = _Blocks(rng)
    records: list[ProgramRecord] = []
    free: list[str] = []
    at = 0.0
    for index in range(shape.programs):
        at += rng.expovariate(1.0)
        children = []
        # Only programs made before can be waited for, so there are no cycles.
        while shape.children and free and rng.random() < 0.3:
            children.append(free.pop(rng.randrange(len(free))))
        record = _program(rng, f"p{index}", at, shape, blocks, children)
        records.append(record)
        free.append(record.program_id)
    return records


def single(seed: int, *, largest: int = 900, turns: int = 6) -> ProgramRecord:
    """One program without children that shares nothing."""
    shape = Shape(programs=1, largest=largest, most_turns=turns, shares=False, children=False)
    return workload(seed, shape)[0]


@dataclass(slots=True)
class _Blocks:
    """Identities of blocks: a new one for every place that is not a copy of another."""

    rng: random.Random
    last: int = 0

    def fresh(self, count: int) -> list[int]:
        self.last += count
        return list(range(self.last - count, self.last))


#: Blocks that programs begin with: `_FRONT[:n]` for some n, below any fresh identity.
_FRONT = tuple(range(-40, 0))


def _program(
    rng: random.Random,
    name: str,
    arrival_s: float,
    shape: Shape,
    blocks: _Blocks,
    children: list[str],
) -> ProgramRecord:
    kind = rng.choice(("private", "prefix", "blocks")) if shape.shares else "private"
    prefix_id = rng.choice(sorted(PREFIX_TOKENS)) if kind == "prefix" else None
    prefix = PREFIX_TOKENS[prefix_id] if prefix_id else 0
    # Not a multiple of a page of 16, so that blocks and pages do not fall together.
    block = rng.choice((8, 24)) if kind == "blocks" else None
    ids: list[int] = []
    if block:
        # Blocks of two sizes are different tokens.
        front = [identity * 100 - block for identity in _FRONT]
        ids = front[: rng.randrange(1, 200 // block)]
    count = rng.randint(1, shape.most_turns)
    waits_at = rng.randrange(count - 1) if children and count > 1 else None
    turns: list[TurnRecord] = []
    context = 0
    for index in range(count):
        kept = context
        if context and rng.random() < 0.2:
            kept = rng.randint(0, context)
        output = rng.choice((rng.randint(0, 1), *rng.choices(range(1, shape.longest_output), k=2)))
        room = shape.largest - max(1, output)
        prompt = min(room, kept + max(1, round(rng.lognormvariate(3.5, 1.3))))
        prompt = max(1, prefix if rng.random() < 0.9 else 1, prompt)
        kept = min(kept, prompt, room)
        if block:
            whole = -(-prompt // block)
            same = ids[: kept // block] if index else ids
            ids = (same + blocks.fresh(max(0, whole - len(same))))[:whole]
        last = index == count - 1
        waits = tuple(children) if index == waits_at else ()
        pause = 0.0 if rng.random() < 0.2 else round(min(40.0, rng.lognormvariate(-1.0, 1.7)), 4)
        tools = (ToolRecord(rng.choice(TOOLS), pause),) if rng.random() < 0.8 else ()
        turns.append(
            TurnRecord(
                input_tokens=prompt,
                new_tokens=prompt - kept,
                output_tokens=output,
                pause_s=None if last else pause,
                pause_kind=PauseKind.FINAL if last else PauseKind.TOOL,
                tools=() if last else tools,
                waits_for=waits,
                hash_ids=tuple(ids),
            )
        )
        context = prompt + output
    return ProgramRecord(
        name,
        rng.choice(("coder", "reviewer")),
        tuple(turns),
        arrival_s=arrival_s,
        prefix_id=prefix_id,
        prefix_tokens=prefix or None,
        block_tokens=block,
        max_turns=rng.choice((None, shape.most_turns)),
    )
