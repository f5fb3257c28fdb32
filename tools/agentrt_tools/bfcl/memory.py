"""The memory categories: conversations that fill a memory, and questions about what was said.

A scenario's conversations come one after another, each with the memory that the last one left; its
questions come after all of them. Only questions are scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentrt_tools.bfcl.entries import Entry, UserTurn, functions_of, rows, text_of

#: The last one needs a model of a hub.
MEMORY = ("memory_kv", "memory_rec_sum", "memory_vector")

_SCENARIOS = ("customer", "finance", "healthcare", "notetaker", "student")
_ALL = "memory"


def load_memory_entries(data: Path, category: str) -> list[Entry]:
    """Conversations first, those of all scenarios side by side, then questions.

    Args:
        data: folder `data` of the package.
        category: one of `MEMORY`.
    """
    chains = {scenario: list(_chain(data, category, scenario)) for scenario in _SCENARIOS}
    longest = max(map(len, chains.values()))
    entries = [chain[at] for at in range(longest) for chain in chains.values() if at < len(chain)]
    answers = [row["ground_truth"] for row in rows(data / "possible_answer/BFCL_v4_memory.json")]
    for row, accepted in zip(rows(data / "BFCL_v4_memory.json"), answers, strict=True):
        after = tuple(entry.entry_id for entry in chains[row["scenario"]])
        entry = _entry(data, category, row)
        entries.append(replace(entry, after=after, answers=tuple(accepted)))
    return entries


def _chain(data: Path, category: str, scenario: str) -> Iterator[Entry]:
    before: tuple[str, ...] = ()
    for row in rows(data / f"memory_prereq_conversation/memory_{scenario}.json"):
        entry = replace(_entry(data, category, row | {"scenario": scenario}), after=before)
        before = (*before, entry.entry_id)
        yield entry


def _entry(data: Path, category: str, row: dict[str, Any]) -> Entry:
    back_end = f"MemoryAPI_{category.removeprefix(_ALL + '_')}"
    entry_id = row["id"].replace(_ALL, category, 1)
    return Entry(
        entry_id=entry_id,
        category=category,
        turns=tuple(UserTurn(text_of(messages)) for messages in row["question"]),
        functions=functions_of(data, back_end),
        reference=(),
        raw={"id": entry_id, "involved_classes": [back_end], "scenario": row["scenario"]},
    )
