"""One run of a benchmark: its entries under each policy, results as they come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import anyio

from agentrt import Runtime
from agentrt.cli import console
from agentrt.cli.interruption import cancelled_by_signals
from agentrt.cli.run_progress import RunProgress
from agentrt_tools.bench.engines import policy_of
from agentrt_tools.bench.figures import figures
from agentrt_tools.bench.results import FILE, EntryResult, ResultFile, file_name
from agentrt_tools.bench.view import table
from agentrt_tools.bench.work import work_off

#: A runtime on the engine of a policy, which writes a trace.
Open = Callable[[str | None, Path], AbstractAsyncContextManager[Runtime]]


class HasId(Protocol):
    """What can be run and noted."""

    @property
    def entry_id(self) -> str:
        """Unique within the benchmark."""
        ...

    @property
    def after(self) -> tuple[str, ...]:
        """Entries that come before it in the list and have to end before it begins."""
        ...


E = TypeVar("E", bound=HasId)

#: Runs an entry on an engine under a policy.
Work = Callable[[Runtime, E, str | None], Awaitable[EntryResult]]

#: Writes something else down of all results.
Keep = Callable[[list[EntryResult]], None]


class Job(Generic[E]):
    """A run that may be interrupted and gone on with.

    Args:
        name: of the benchmark.
        entries: to run under each policy.
        settings: what results depend on; a run goes on only with the same.
        folder: for results and traces.
        parallel: entries at once.
    """

    def __init__(
        self,
        name: str,
        entries: Sequence[E],
        settings: dict[str, Any],
        folder: Path,
        parallel: int,
    ) -> None:
        self._name = name
        self._entries = entries
        self._settings = {"benchmark": name, **settings}
        self._folder = folder
        self._parallel = parallel

    async def run(
        self,
        policies: Sequence[str | None],
        open_runtime: Open,
        work: Work[E],
        json: str | None,
        keep: Keep = lambda results: None,
    ) -> int:
        """Run what has no result yet and print the table; returns the exit code.

        Exit code 0 means that every entry has a result, right or wrong.

        Args:
            keep: told all results at the end.
        """
        with ResultFile(self._folder / FILE, self._settings) as file:
            before = len(file.results)
            if before:
                console.progress.print(f"going on after {before:,} results", soft_wrap=True)
            async with cancelled_by_signals() as interruption:
                for policy in policies:
                    await self._run_policy(policy, file, open_runtime, work)
            keep(file.results)
            self._report(file, json)
        if interruption.signal is not None:
            console.print_error("interrupted", hint=f"the same with --out {self._folder} goes on")
        return interruption.exit_code

    async def _run_policy(
        self, policy: str | None, file: ResultFile, open_runtime: Open, work: Work[E]
    ) -> None:
        if policy is not None and not self._left(policy, file):
            return
        async with open_runtime(policy, self._new_trace(policy)) as runtime:
            named = policy_of(runtime, policy)
            left = self._left(named, file)
            ended = {entry.entry_id: anyio.Event() for entry in left}
            what = f"{self._name}, {named}" if named else self._name
            with RunProgress(what, len(left), "entries") as progress:
                done = 0

                async def one(entry: E) -> None:
                    nonlocal done
                    # Whoever is earlier in the list was begun earlier, so all this ends.
                    for other in entry.after:
                        if other in ended:
                            await ended[other].wait()
                    file.add(await work(runtime, entry, named))
                    ended[entry.entry_id].set()
                    done += 1
                    progress.show(done)

                await work_off(left, one, parallel=self._parallel)

    def _left(self, policy: str | None, file: ResultFile) -> list[E]:
        done = file.done()
        return [entry for entry in self._entries if (entry.entry_id, policy) not in done]

    def _new_trace(self, policy: str | None) -> Path:
        """A file that is not there yet: a run that goes on begins another one."""
        stem = "trace" if policy is None else f"trace-{file_name(policy)}"
        at = 1
        while (path := self._folder / f"{stem}{f'-{at}' if at > 1 else ''}.jsonl").exists():
            at += 1
        return path

    def _report(self, file: ResultFile, json: str | None) -> None:
        place = {entry.entry_id: at for at, entry in enumerate(self._entries)}
        last = len(place)
        rows = figures(sorted(file.results, key=lambda each: place.get(each.entry, last)))
        to = console.results(json)
        if rows:
            to.print(table(rows), width=min(to.width, console.MAX_WIDTH))
            to.print()
        to.print(f"results and traces: {self._folder}", markup=False, soft_wrap=True)
        document = {"folder": str(self._folder), "settings": self._settings, "policies": rows}
        console.write_json(json, document)
