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
    runs: Sequence[dict[str, Any]] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The document; `sweep`, `runs` and `notes` only where there are any.

    Args:
        runs: each run by itself, where runs of one seed differ.
        notes: what a reader must know besides, in sentences.
    """
    document = {
        "schema": REPLAY_SCHEMA,
        "workload": workload,
        "engine": engine,
        "settings": settings,
        "rows": list(rows),
    }
    if sweep:
        document["sweep"] = [msgspec.to_builtins(point) for point in sweep]
    if runs:
        document["runs"] = list(runs)
    if notes:
        document["notes"] = list(notes)
    return document


def simulated_engine(profile: CostProfile) -> dict[str, Any]:
    """The `engine` of simulated runs."""
    return {
        "kind": "simulated",
        "profile": profile.name,
        "title": profile.title,
        "source": profile.source,
    }


def live_engines(engines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The `engine` of live runs: what each engine said of itself, by the name of its row."""
    return {"kind": "live", "engines": list(engines)}
