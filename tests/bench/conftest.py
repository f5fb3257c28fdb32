"""Entries of the benchmark, and runs of them."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from agentrt_tools.bench.packages import bfcl_data
from agentrt_tools.bench.results import EntryResult
from agentrt_tools.bench.work import work_off
from agentrt_tools.bfcl.entries import Entry, load_multi_turn
from agentrt_tools.bfcl.reference import ReferenceModel
from agentrt_tools.bfcl.run_entry import EntryOptions, run_entry


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the package's data."""
    return bfcl_data()


@pytest.fixture(scope="session")
def base(data: Path) -> list[Entry]:
    """The entries of multi_turn_base."""
    return load_multi_turn(data, "multi_turn_base")


def run_reference(
    entries: list[Entry], *, complete: bool = True, trace: Path | None = None, **options: object
) -> list[EntryResult]:
    """Entries with the reference model, four at once; their results in the order of the entries."""

    async def main() -> list[EntryResult]:
        model = ReferenceModel(complete=complete)
        results: dict[str, EntryResult] = {}
        chosen = EntryOptions(streams=False, holds_back=False, begins=model.begins, **options)  # type: ignore[arg-type]
        async with model.connect(trace=trace) as runtime:

            async def one(entry: Entry) -> None:
                results[entry.entry_id] = await run_entry(runtime, entry, None, chosen)

            await work_off(entries, one, parallel=4)
        return [results[entry.entry_id] for entry in entries]

    return anyio.run(main)
