"""`agentrt replay`: policies, or live engines, beside each other on traces."""

from __future__ import annotations

from pathlib import Path

from agentrt.cli import console
from agentrt.cli.adapter_options import AdapterOptions
from agentrt.cli.comparison_options import (
    PolicyList,
    TraceFormatOption,
    chosen_policies,
    read_traces,
)
from agentrt.cli.live_options import LiveOptions
from agentrt.cli.load_options import LoadOptions
from agentrt.cli.replay_live import (
    LiveCommand,
    require_no_live_option,
    require_no_simulated_option,
)
from agentrt.cli.replay_output import OutputOptions
from agentrt.cli.replay_view import print_replay
from agentrt.cli.run_progress import RunProgress
from agentrt.cli.simulated_options import EngineOptions, Workers, processes
from agentrt.replay.quantity import token_count, whole_numbers
from agentrt.replay.report.canvas import require_matplotlib
from agentrt.replay.simulated_replay import SimulatedReplay
from agentrt.replay.workload import make_workload


def replay(
    *traces: Path,
    policy: PolicyList = None,
    kv_tokens: str | None = None,
    sweep: str | None = None,
    bounds: bool | None = None,
    workers: Workers = None,
    format: TraceFormatOption = None,
    load: LoadOptions = LoadOptions(),  # noqa: B008 - frozen
    engine: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
    adapters: AdapterOptions = AdapterOptions(),  # noqa: B008 - frozen
    live: LiveOptions = LiveOptions(),  # noqa: B008 - frozen
    output: OutputOptions = OutputOptions(),  # noqa: B008 - frozen
) -> int:
    """Compare policies on the programs of traces, on a simulated engine or on live ones.

    The simulated engine runs in virtual time from a cost profile. No GPU is used: every figure is
    what the model says, not a measurement. With --engine the programs run on engines that are
    there, with the token counts, shared prefixes and pauses of the trace and with token ids of no
    meaning, and every figure is measured at the client.

    Programs come in one of four ways: a fixed number always active (--concurrency), at random
    (--rate), as recorded (--arrivals trace), or as a file lists them (--runs). Equal seeds give
    equal lists.

    Examples:

        agentrt replay agents.jsonl.gz --kv-tokens 400k
        agentrt replay agents.jsonl.gz --kv-tokens 400k --rate 0.05 --seed 1,2,3 -n 300
        agentrt replay agents.jsonl.gz --kv-tokens 200k --policy lru,static-cap:programs=8
        agentrt replay agents.jsonl.gz --kv-tokens 400k --sweep 4,8,16,32 --html report.html
        agentrt replay agents.jsonl.gz --runs lists.json.gz --cell 0 --json result.json
        agentrt replay agents.jsonl.gz --kv-tokens 400k --adapters 4 --lora-sharing off,base-lr
        agentrt replay agents.jsonl.gz --engine http://127.0.0.1:30000 --concurrency 8
        agentrt replay agents.jsonl.gz --engine stock=http://a:30000 --engine ours=http://b:30000

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
        Append what no engine can reach: free retention, infinite KV, every program alone; by
        default in simulations.
    """
    if output.html is not None:
        require_matplotlib()
    concurrencies = None if sweep is None else whole_numbers("--sweep", sweep)
    if live.engine:
        simulated = {"--policy": policy, "--kv-tokens": kv_tokens, "--workers": workers}
        # Without bounds is what a live replay is.
        more = adapters.given() | {"--bounds": bounds or None}
        require_no_simulated_option(engine, simulated | more)
        trace = read_traces(traces, format, command="agentrt replay")
        command = LiveCommand(traces, trace, load, engine, live, output, concurrencies or ())
        return command.run()
    require_no_live_option(live)
    policies = chosen_policies(policy)
    size = None if kv_tokens is None else token_count("--kv-tokens", kv_tokens)
    modes = adapters.modes()
    output.require_one_mode(modes, sweeps=concurrencies is not None)
    trace = adapters.assigned(read_traces(traces, format, command="agentrt replay"))
    cell = load.chosen_cell(traces, size)
    if cell is None:
        settings = engine.settings(size)
    else:
        settings = engine.settings(size or cell.cell.kv_tokens, cell.settings)
    settings = adapters.settings(settings, trace)
    workload = make_workload(
        trace,
        kv_tokens=settings.memory_in_every_mode,
        page=settings.page,
        pause_cap_s=settings.pause_cap_s,
        sharing=modes[0],
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
        bounds=bounds is not False,
        sweep=concurrencies,
        quick_sweep=output.html is not None,
        record=output.needs_timeline,
    )
    with RunProgress("Simulating", job.programs(), "programs") as progress:
        compared = job.run(workers=processes(workers, job.turns()), on_progress=progress.show)
    output.write(job.document(compared), compared)
    print_replay(console.results(output.json), job, compared, wide=output.wide)
    return 0
