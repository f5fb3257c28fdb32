"""Patches in the official form, for swebench's own evaluation and for leaderboards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from agentrt_tools.bench.results import EntryResult, file_name


def write_predictions(results: Sequence[EntryResult], model: str, folder: Path) -> None:
    """Write a file for each policy; instances that handed nothing in have an empty patch.

    Args:
        model: what to call it.
    """
    for policy in dict.fromkeys(each.policy for each in results):
        of = "" if policy is None else f"-{file_name(policy)}"
        path = folder / f"predictions{of}.jsonl"
        rows = [
            {
                "instance_id": each.entry,
                "model_name_or_path": model,
                "model_patch": each.answers[0] if each.answers else "",
            }
            for each in results
            if each.policy == policy
        ]
        new = path.with_suffix(".new")
        new.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        new.replace(path)
