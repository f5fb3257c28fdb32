"""Fleets of agents that differ by a LoRA adapter and work on the same long context."""

from __future__ import annotations

import random

from agentrt_engine.wire.trace import PauseKind, ProgramRecord, ToolRecord, TurnRecord

ROLES = ("planner", "coder", "reviewer", "tester")


def fleet(
    teams: int,
    *,
    context: int = 32_000,
    turns: int = 3,
    adapters: tuple[str | None, ...] = ROLES,
    gap_s: float = 6.0,
    seed: int = 1,
) -> list[ProgramRecord]:
    """Teams of one agent per role, which begin one after the other.

    Args:
        context: tokens that all prompts of a team begin with.
        adapters: of the agents of a team, None for the base model.
        gap_s: from the arrival of one agent to that of the next.
    """
    rng = random.Random(seed)
    return [
        ProgramRecord(
            f"team-{team}-{place}",
            ROLES[place % len(ROLES)],
            _turns(rng, context, turns),
            arrival_s=gap_s * (team * len(adapters) + place),
            adapter=adapter,
            prefix_id=f"context-{team}",
            prefix_tokens=context,
        )
        for team in range(teams)
        for place, adapter in enumerate(adapters)
    ]


def _turns(rng: random.Random, context: int, count: int) -> tuple[TurnRecord, ...]:
    """Prompts that each add a little to the one before and its reply."""
    made = []
    before = 0
    for index in range(count):
        new = rng.randint(200, 400) + (0 if index else context)
        output = rng.randint(100, 300)
        last = index == count - 1
        made.append(
            TurnRecord(
                input_tokens=before + new,
                new_tokens=new,
                output_tokens=output,
                pause_s=None if last else rng.uniform(0.5, 2.0),
                pause_kind=PauseKind.FINAL if last else PauseKind.TOOL,
                tools=() if last else (ToolRecord("bash", None),),
            )
        )
        before += new + output
    return tuple(made)
