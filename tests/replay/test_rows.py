"""Rows of a result: from outcomes by hand, and from the simulator."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.replay.comparison import Comparison, compare
from agentrt.replay.load import Closed, Load, Poisson, Recorded
from agentrt.replay.matrix import Run, Simulation, run_all
from agentrt.replay.program_list import ProgramList
from agentrt.replay.replay_settings import SimulatedSettings
from agentrt.replay.row import isolated_row, make_row
from agentrt.replay.simulated_replay import SimulatedReplay
from agentrt.replay.workload import make_workload
from agentrt_engine.errors import AgentrtError
from agentrt_engine.outcome import Account, ProgramOutcome, RunOutcome
from agentrt_engine.simulated.profile import load_profile
from tests.replay.workloads import agents, trace_of
from tests.support import outcomes

#: Fields that every reader of the format may rely on.
FIELDS = {
    "policy", "seeds", "programs", "excluded", "overloaded", "jct_mean_s", "jct_seed_means_s",
    "jct_p50_s", "jct_p95_s", "jct_p99_s", "slowdown_p99", "slowdown_max", "ttft_mean_s",
    "recomputed_per_new", "hit_rate", "throughput_per_1000_s", "wall_s",
}  # fmt: skip


def outcome(jct_s: float | None, **more: Any) -> ProgramOutcome:
    end_s = None if jct_s is None else 100.0 + jct_s
    return ProgramOutcome("p", "agent", 100.0, end_s, **more)


def run(seed: int, programs: list[ProgramOutcome], **more: Any) -> RunOutcome:
    return RunOutcome("lru", seed, programs, 1000, **more)


def test_times_are_means_of_seed_means_and_quantiles_of_all_programs() -> None:
    row = make_row(
        [
            run(1, [outcome(float(jct)) for jct in range(1, 100)]),
            run(7, [outcome(200.0)]),
        ]
    )
    assert row["seeds"] == [1, 7]
    assert row["jct_seed_means_s"] == [50.0, 200.0]
    assert row["jct_mean_s"] == 125.0
    assert (row["jct_p50_s"], row["jct_p95_s"], row["jct_p99_s"]) == (50.0, 95.0, 99.0)
    assert row["programs"] == 100


def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    row = make_row([run(1, [outcome(jct) for jct in (1.0, 2.0, 3.0)])])
    assert (row["jct_p50_s"], row["jct_p95_s"]) == (2.0, 3.0)


def test_rates_are_ratios_of_sums() -> None:
    programs = [
        outcome(1.0, new_tokens=100, reusable_tokens=300, hit_tokens=0, ttft_s=[0.5, 1.5]),
        outcome(1.0, new_tokens=300, reusable_tokens=500, hit_tokens=400, ttft_s=[4.0]),
    ]
    row = make_row([run(1, programs, makespan_s=4.0)])
    assert row["hit_rate"] == 0.5
    assert row["recomputed_per_new"] == 1.0
    assert row["ttft_mean_s"] == 2.0
    assert row["throughput_per_1000_s"] == 500.0


def test_children_are_part_of_the_programs_that_wait_for_them() -> None:
    programs = [
        outcome(10.0, hit_tokens=50, reusable_tokens=100),
        outcome(2.0, hit_tokens=100, reusable_tokens=100, parent_id="p"),
    ]
    row = make_row([run(1, programs)])
    assert (row["programs"], row["jct_mean_s"], row["hit_rate"]) == (1, 10.0, 0.75)


def test_slowdown_is_over_the_time_alone() -> None:
    programs = [outcome(10.0, isolated_s=5.0), outcome(30.0, isolated_s=10.0), outcome(5.0)]
    row = make_row([run(1, programs)])
    assert (row["slowdown_p99"], row["slowdown_max"]) == (3.0, 3.0)


def test_accounts_are_summed() -> None:
    programs = [outcome(1.0, account=Account(1.0, 2.0, 3.0)) for _ in range(2)]
    row = make_row([run(1, programs), run(2, programs)])
    assert [row[f"gpu_{kind}_s"] for kind in ("prefill", "recompute", "decode")] == [4, 8, 12]


def test_programs_that_never_ended_count_but_have_no_time() -> None:
    row = make_row([run(1, [outcome(2.0), outcome(None)], makespan_s=10.0)])
    assert (row["programs"], row["unfinished"], row["jct_mean_s"]) == (2, 1, 2.0)
    assert row["throughput_per_1000_s"] == 100.0


def test_what_is_not_known_is_none() -> None:
    row = make_row([run(1, [outcome(None)])])
    unknown = {key for key, value in row.items() if value is None}
    assert {"jct_mean_s", "jct_p99_s", "slowdown_max", "hit_rate", "ttft_mean_s"} <= unknown
    assert json.loads(msgspec.json.encode(row))["jct_mean_s"] is None


def test_half_of_the_seeds_make_a_row_overloaded() -> None:
    calm = run(1, [outcome(1.0)])
    jam = outcomes.run("lru", 1, programs=200, timeline=False)
    jam.backlog = [(float(at), 2 * at) for at in range(100)]
    for program in jam.programs:
        program.arrival_s /= 10
    assert make_row([jam, calm])["overloaded"] is True
    row = make_row([jam, calm, calm])
    assert (row["overloaded"], row["overloaded_seeds"]) == (False, 1)


def test_every_row_has_the_fields_of_the_format() -> None:
    made = outcomes.run("lru", 1, programs=5)
    assert set(make_row([made])) >= FIELDS
    assert set(isolated_row([made])) == set(make_row([made]))


def test_the_isolated_row_is_the_times_alone() -> None:
    programs = [outcome(10.0, isolated_s=4.0), outcome(10.0, isolated_s=8.0)]
    row = isolated_row([run(1, programs), run(2, programs[:1])])
    assert row["policy"] == "isolated"
    assert row["jct_seed_means_s"] == [6.0, 4.0]
    assert (row["jct_mean_s"], row["jct_p99_s"], row["slowdown_max"]) == (5.0, 8.0, 1.0)
    assert row["throughput_per_1000_s"] is None


@given(st.lists(st.tuples(st.floats(0.001, 1e6), st.floats(0.001, 1e6)), min_size=1, max_size=200))
def test_quantiles_rise_and_lie_within_the_values(times: list[tuple[float, float]]) -> None:
    row = make_row([run(1, [outcome(jct, isolated_s=alone) for jct, alone in times])])
    ordered = [row["jct_p50_s"], row["jct_p95_s"], row["jct_p99_s"]]
    jcts = [100.0 + jct - 100.0 for jct, _ in times]
    assert ordered == sorted(ordered)
    assert min(jcts) <= ordered[0]
    assert ordered[-1] <= max(jcts)
    assert row["slowdown_p99"] <= row["slowdown_max"]


# ------------------------------------------------------------------ simulated


def replay(folder: Path, load: Load, *, seeds: tuple[int, ...] = (1, 2)) -> SimulatedReplay:
    """A memory that does not hold all programs at once."""
    trace = trace_of(folder, agents(12))
    settings = SimulatedSettings(load_profile("llama-3.1-8b-h200"), kv_tokens=12_000)
    workload = make_workload(trace, kv_tokens=12_000, page=16, pause_cap_s=None)
    return SimulatedReplay(
        files=[trace.path],
        trace=trace,
        workload=workload,
        settings=settings,
        load=load,
        lists=load.lists(workload, seeds=seeds, programs=30),
        policies=["lru", "continuum:reading=pressure", "program-fcfs"],
        sweep=(2, 8),
    )


def result(job: SimulatedReplay, workers: int = 1) -> bytes:
    """The document without what the clock says."""
    compared = job.run(workers=workers, on_progress=lambda done: None)
    document = job.document(compared)
    for row in document["rows"]:
        assert row.pop("wall_s") >= 0
    return msgspec.json.encode(document)


@pytest.mark.parametrize("load", [Closed(8), Poisson(0.5)])
def test_equal_seeds_give_equal_bytes(tmp_path: Path, load: Load) -> None:
    first, again = (result(replay(tmp_path, load)) for _ in range(2))
    assert first == again
    assert first != result(replay(tmp_path, load, seeds=(1, 3)))


def test_the_result_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    job = replay(tmp_path, Closed(8), seeds=(1,))
    assert result(job, workers=1) == result(job, workers=2)


def test_rows_stand_in_the_order_asked_for_and_bounds_follow(tmp_path: Path) -> None:
    document = json.loads(result(replay(tmp_path, Closed(8))))
    assert [row["policy"] for row in document["rows"]] == [
        "lru",
        "continuum:reading=pressure",
        "program-fcfs",
        "oracle-retention",
        "infinite-kv",
        "isolated",
    ]
    means = {row["policy"]: row["jct_mean_s"] for row in document["rows"]}
    assert means["isolated"] < means["infinite-kv"] < means["oracle-retention"] < means["lru"]


def test_all_policies_of_a_seed_run_the_same_programs_at_the_same_times(tmp_path: Path) -> None:
    job = replay(tmp_path, Poisson(0.5))
    compared = job.run(workers=1, on_progress=lambda done: None)
    for seed in (1, 2):
        arrivals = [
            [(program.program_id, program.arrival_s) for program in run.programs]
            for run in compared.outcomes
            if run.seed == seed
        ]
        assert len(arrivals) == 5
        assert all(each == arrivals[0] for each in arrivals)


def test_a_sweep_has_a_point_for_each_policy_and_concurrency(tmp_path: Path) -> None:
    compared = replay(tmp_path, Closed(8)).run(workers=1, on_progress=lambda done: None)
    assert len(compared.sweep) == 5 * 2
    assert {point.concurrency for point in compared.sweep} == {2, 8}
    assert all(len(point.throughput_per_1000_s) == 2 for point in compared.sweep)


def test_a_sweep_has_enough_programs_for_its_largest_concurrency(tmp_path: Path) -> None:
    job = dataclasses.replace(replay(tmp_path, Closed(8)), sweep=(2, 16))
    (first, second) = job.comparison().sweep_lists
    assert len(first) == len(second) == 4 * 16
    assert first.programs[:30] == job.lists[0].programs
    recorded = dataclasses.replace(job, load=Recorded())
    assert list(recorded.comparison().sweep_lists) == list(job.lists)


def test_progress_ends_at_the_number_of_programs(tmp_path: Path) -> None:
    job = replay(tmp_path, Closed(8))
    for workers in (1, 2):
        seen: list[int] = []
        job.run(workers=workers, on_progress=seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == job.comparison().programs() == 5 * 2 * (30 + 32 + 32)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_run_is_raised(tmp_path: Path, workers: int) -> None:
    job = replay(tmp_path, Closed(8))
    simulation = Simulation(job.workload.plans, job.settings.engine())
    runs = [Run("lru", job.lists[0], 8), Run("nonsense", job.lists[0], 8)]
    with pytest.raises(AgentrtError, match="unknown policy 'nonsense'"):
        run_all(simulation, runs, workers=workers, on_progress=lambda done: None)


def test_only_the_first_seed_of_the_policies_is_recorded(tmp_path: Path) -> None:
    job = replay(tmp_path, Closed(8))
    comparison = Comparison(["lru"], job.lists, 8, record=True)
    simulation = Simulation(job.workload.plans, job.settings.engine())
    compared = compare(simulation, comparison, workers=1, on_progress=lambda done: None)
    recorded = [(run.policy, run.seed) for run in compared.outcomes if run.timeline is not None]
    assert recorded == [("lru", 1)]


def test_a_bound_that_is_asked_for_stands_where_it_was_asked_for(tmp_path: Path) -> None:
    lists = [ProgramList(1, (0, 1))]
    comparison = Comparison(["infinite-kv", "lru"], lists, 2)
    assert comparison.all_policies() == ["infinite-kv", "lru", "oracle-retention"]
    assert Comparison(["lru"], lists, 2, bounds=False).all_policies() == ["lru"]
