"""The result of a replay as one document, `agentrt.replay.v1`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agentrt.replay.report import SweepPoint
from agentrt.replay.row import Row
from agentrt_engine.simulated.profile import CostProfile

REPLAY_SCHEMA = "agentrt.replay.v1"


def make_document(
    *,
    workload: dict[str, Any],
    engine: dict[str, Any],
    settings: dict[str, Any],
    rows: Sequence[Row],
    sweep: Sequence[SweepPoint],
) -> dict[str, Any]:
    """The document; `sweep` only where there was one."""
    document = {
        "schema": REPLAY_SCHEMA,
        "workload": workload,
        "engine": engine,
        "settings": settings,
        "rows": list(rows),
    }
    if sweep:
        document["sweep"] = [msgspec.to_builtins(point) for point in sweep]
    return document


def simulated_engine(profile: CostProfile) -> dict[str, Any]:
    """The `engine` of simulated runs."""
    return {
        "kind": "simulated",
        "profile": profile.name,
        "title": profile.title,
        "source": profile.source,
    }
