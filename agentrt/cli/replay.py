"""`agentrt replay`: policies beside each other on traces, on a simulated engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from agentrt.cli import console
from agentrt.cli.comparison_options import (
    PolicyList,
    TraceFormatOption,
    chosen_policies,
    read_traces,
)
from agentrt.cli.load_options import LoadOptions
from agentrt.cli.options import JsonTarget
from agentrt.cli.replay_view import print_replay
from agentrt.cli.run_progress import RunProgress
from agentrt.cli.simulated_options import EngineOptions, Workers, processes
from agentrt.replay.chrome_trace import write_chrome_trace
from agentrt.replay.comparison import Compared
from agentrt.replay.quantity import token_count, whole_numbers
from agentrt.replay.report import ReportContent, write_report
from agentrt.replay.report.canvas import require_matplotlib
from agentrt.replay.simulated_replay import SimulatedReplay
from agentrt.replay.workload import make_workload

_OUTPUT_GROUP = Group("Output", sort_key=3)


@Parameter(name="*", group=_OUTPUT_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Where results go."""

    wide: Annotated[bool, Parameter(negative="", help="Print all columns, however wide.")] = False
    json: JsonTarget = None
    html: Annotated[Path | None, Parameter(help="Write a report with pictures to this file.")] = (
        None
    )
    chrome_trace: Annotated[
        Path | None,
        Parameter(
            help="Write the timeline of the first seed of each policy to this file, for Perfetto "
            "(ui.perfetto.dev)."
        ),
    ] = None

    def write(self, document: dict[str, Any], compared: Compared) -> None:
        """Write all files that were asked for, each whole or not at all."""
        console.write_json(self.json, document)
        if self.chrome_trace is not None:
            write_chrome_trace(self.chrome_trace, compared.outcomes)
        if self.html is not None:
            with console.progress.status("Drawing the report"):
                content = ReportContent(document, compared.outcomes, compared.sweep)
                write_report(self.html, content)


def replay(
    *traces: Path,
    policy: PolicyList = None,
    kv_tokens: str | None = None,
    sweep: str | None = None,
    bounds: bool = True,
    workers: Workers = None,
    format: TraceFormatOption = None,
    load: LoadOptions = LoadOptions(),  # noqa: B008 - frozen
    engine: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
    output: OutputOptions = OutputOptions(),
) -> None:
    """Compare policies on the programs of traces, on a simulated engine.

    The engine runs in virtual time from a cost profile. No GPU is used: every figure is what the
    model says, not a measurement. Programs come in one of four ways: a fixed number always active
    (--concurrency), at random (--rate), as recorded (--arrivals trace), or as a file lists them
    (--runs). Equal seeds give equal results.

    Examples:

        agentrt replay agents.jsonl.gz --kv-tokens 400k
        agentrt replay agents.jsonl.gz --kv-tokens 400k --rate 0.05 --seed 1,2,3 -n 300
        agentrt replay agents.jsonl.gz --kv-tokens 200k --policy lru,static-cap:programs=8
        agentrt replay agents.jsonl.gz --kv-tokens 400k --sweep 4,8,16,32 --html report.html
        agentrt replay agents.jsonl.gz --runs lists.json.gz --cell 0 --json result.json

    Parameters
    ----------
    traces
        Traces of any known format (agentrt trace --help), read as one.
    kv_tokens
        KV memory of the engine in tokens, such as 400k or 1.5M. Programs with a turn of more than
        94 % of it are left out.
    sweep
        Numbers of active programs for further runs, such as 4,8,16,32: is there a cliff?
    bounds
        Append what no engine can reach: free retention, infinite KV, every program alone.
    """
    if output.html is not None:
        require_matplotlib()
    policies = chosen_policies(policy)
    concurrencies = None if sweep is None else whole_numbers("--sweep", sweep)
    size = None if kv_tokens is None else token_count("--kv-tokens", kv_tokens)
    trace = read_traces(traces, format, command="agentrt replay")
    cell = load.chosen_cell(traces, size)
    if cell is None:
        settings = engine.settings(size)
    else:
        settings = engine.settings(size or cell.cell.kv_tokens, cell.settings)
    workload = make_workload(
        trace, kv_tokens=settings.kv_tokens, page=settings.page, pause_cap_s=settings.pause_cap_s
    )
    way = load.load(cell)
    job = SimulatedReplay(
        files=traces,
        trace=trace,
        workload=workload,
        settings=settings,
        load=way,
        lists=way.lists(workload, seeds=load.seeds, programs=load.programs),
        policies=policies,
        bounds=bounds,
        sweep=concurrencies,
        quick_sweep=output.html is not None,
        record=output.html is not None or output.chrome_trace is not None,
    )
    comparison = job.comparison()
    turns = comparison.turns(workload)
    with RunProgress("Simulating", comparison.programs(), "programs") as progress:
        compared = job.run(workers=processes(workers, turns), on_progress=progress.show)
    output.write(job.document(compared), compared)
    print_replay(console.results(output.json), job, compared, wide=output.wide)
