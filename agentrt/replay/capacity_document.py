"""What `agentrt plan` found, as one document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agentrt.replay.capacity import Capacity, engines_needed
from agentrt.replay.document import simulated_engine
from agentrt.replay.replay_settings import SimulatedSettings

PLAN_SCHEMA = "agentrt.plan.v1"


def make_plan_document(
    capacities: Sequence[Capacity],
    *,
    files: Sequence[Path],
    settings: SimulatedSettings,
    search: dict[str, Any],
    target_rate: float | None,
) -> dict[str, Any]:
    """The document.

    Args:
        settings: of the engines; each capacity has its own size of memory.
        search: how rates were searched.
        target_rate: programs per second of a fleet; None if nobody asked.
    """
    described = settings.as_dict()
    del described["kv_tokens"]
    return {
        "schema": PLAN_SCHEMA,
        "workload": {"files": [str(path) for path in files]},
        "engine": simulated_engine(settings.profile),
        "settings": described | search | {"target_rate": target_rate},
        "rows": [
            msgspec.to_builtins(capacity) | _fleet(capacity, target_rate) for capacity in capacities
        ],
    }


def _fleet(capacity: Capacity, target_rate: float | None) -> dict[str, Any]:
    if target_rate is None:
        return {}
    return {"engines_needed": engines_needed(target_rate, capacity)}
