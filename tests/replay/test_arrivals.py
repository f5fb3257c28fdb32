"""Which programs run, when they arrive, and how a user writes policies and numbers."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.errors import ReplayError, SettingError
from agentrt.replay.load import Closed, Poisson, Recorded
from agentrt.replay.policy_list import split_policies
from agentrt.replay.program_list import drawn_list, poisson_list, recorded_list
from agentrt.replay.quantity import seed_list, token_count, whole_numbers
from agentrt.replay.workload import Workload, make_workload
from agentrt_engine.policy import policy_names
from tests.replay.trace_files import program, turn
from tests.replay.workloads import agents, trace_of


def workload(folder: Path, *, kv_tokens: int = 100_000) -> Workload:
    trace = trace_of(folder, agents(5))
    return make_workload(trace, kv_tokens=kv_tokens, page=16, pause_cap_s=None)


# ---------------------------------------------------------------------- lists


@given(st.integers(1, 30), st.integers(1, 100), st.integers(0, 9))
def test_programs_are_drawn_without_replacement_in_each_pass(
    available: int, wanted: int, seed: int
) -> None:
    drawn = drawn_list(available, wanted, seed).programs
    assert len(drawn) == wanted
    for begin in range(0, wanted, available):
        one_pass = drawn[begin : begin + available]
        assert len(set(one_pass)) == len(one_pass)
    counts = Counter(drawn)
    assert max(counts.values()) - min(counts[index] for index in range(available)) <= 1


def test_a_longer_list_begins_with_the_shorter_one() -> None:
    assert drawn_list(7, 50, 3).programs[:20] == drawn_list(7, 20, 3).programs


def test_seeds_give_different_lists() -> None:
    assert len({drawn_list(20, 20, seed).programs for seed in range(10)}) == 10


def test_another_rate_keeps_the_list_and_stretches_the_times() -> None:
    slow, fast = (poisson_list(20, 100, 1, rate=rate) for rate in (0.1, 0.4))
    assert slow.programs == fast.programs == drawn_list(20, 100, 1).programs
    assert slow.arrival_s is not None
    assert fast.arrival_s is not None
    assert [time / 4 for time in slow.arrival_s] == pytest.approx(list(fast.arrival_s))


def test_poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() -> None:
    times = poisson_list(10, 20_000, 7, rate=0.5).arrival_s
    assert times is not None
    gaps = [later - earlier for earlier, later in pairwise((0.0, *times))]
    assert fmean(gaps) == pytest.approx(2.0, rel=0.03)
    assert fmean(gap > 2.0 for gap in gaps) == pytest.approx(0.368, abs=0.01)


def test_recorded_programs_come_in_the_order_of_their_arrivals_from_zero_on() -> None:
    listed = recorded_list([30.0, 10.0, 20.0], seed=1)
    assert listed.programs == (1, 2, 0)
    assert listed.arrival_s == (0.0, 10.0, 20.0)
    assert recorded_list([30.0, 10.0, 20.0], 1, wanted=2).programs == (1, 2)


# ----------------------------------------------------------------------- load


def test_every_program_runs_once_unless_said_otherwise(tmp_path: Path) -> None:
    programs = workload(tmp_path)
    for load in (Closed(4), Poisson(0.1), Recorded()):
        (listed,) = load.lists(programs, seeds=None, programs=None)
        assert sorted(listed.programs) == [0, 1, 2, 3, 4]
        assert listed.seed == 1


def test_all_seeds_get_a_list(tmp_path: Path) -> None:
    lists = Poisson(0.1).lists(workload(tmp_path), seeds=[3, 5], programs=12)
    assert [(listed.seed, len(listed)) for listed in lists] == [(3, 12), (5, 12)]


def test_recorded_arrivals_need_an_arrival_of_every_program(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, [*agents(2), program("late", turn(10, 10))])
    programs = make_workload(trace, kv_tokens=100_000, page=16, pause_cap_s=None)
    with pytest.raises(ReplayError, match="program late has no arrival"):
        Recorded().lists(programs, seeds=None, programs=None)


@pytest.mark.parametrize(("seeds", "wanted"), [([1, 2], None), (None, 6)])
def test_recorded_arrivals_cannot_be_drawn(
    tmp_path: Path, seeds: list[int] | None, wanted: int | None
) -> None:
    with pytest.raises(ReplayError, match=r"--seed 1,2|--programs 6"):
        Recorded().lists(workload(tmp_path), seeds=seeds, programs=wanted)


# ------------------------------------------------------------------- workload


def test_programs_with_a_turn_too_large_are_left_out(tmp_path: Path) -> None:
    giant = program("giant", turn(9_500, 9_500, 10))
    parent = program("parent", turn(100, 100, waits_for=("child",)), turn(200, 90))
    child = program("child", turn(9_600, 9_600), parent_id="parent")
    trace = trace_of(tmp_path, [*agents(2), giant, parent, child])
    made = make_workload(trace, kv_tokens=10_000, page=16, pause_cap_s=None)
    assert made.left_out == ["giant", "parent"]
    assert len(made.plans) == 2


def test_a_memory_that_no_program_fits_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"no program fits 1,000 KV tokens: the smallest has"):
        workload(tmp_path, kv_tokens=1000)


# ------------------------------------------------------ what users write


@pytest.mark.parametrize(
    ("texts", "policies"),
    [
        (["lru"], ["lru"]),
        (["lru,continuum"], ["lru", "continuum"]),
        (["lru", "continuum"], ["lru", "continuum"]),
        (["lru, continuum ,lru"], ["lru", "continuum"]),
        (["static-cap:programs=8,lru"], ["static-cap:programs=8", "lru"]),
        (
            ["fixed-ttl:seconds=2,continuum:reading=pressure"],
            ["fixed-ttl:seconds=2", "continuum:reading=pressure"],
        ),
        (["lru:a=1,b=2,c=3,lpm"], ["lru:a=1,b=2,c=3", "lpm"]),
        (["lru,nonsense"], ["lru", "nonsense"]),
        (["nonsense:a=1,lru"], ["nonsense:a=1", "lru"]),
        (["lru:a=1,nonsense:b=2"], ["lru:a=1", "nonsense:b=2"]),
        ([""], []),
    ],
)
def test_commas_separate_policies_and_parameters(texts: list[str], policies: list[str]) -> None:
    assert split_policies(texts, policy_names()) == policies


@given(
    st.lists(
        st.tuples(
            st.sampled_from(policy_names()),
            st.lists(st.sampled_from(["alpha=1", "beta=0.5", "gamma=x"]), max_size=3),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_joined_policies_come_apart_again(parts: list[tuple[str, list[str]]]) -> None:
    policies = [name + (":" + ",".join(given) if given else "") for name, given in parts]
    found = split_policies([",".join(policies)], policy_names())
    assert found == list(dict.fromkeys(policies))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("400000", 400_000),
        ("400k", 400_000),
        ("1.5M", 1_500_000),
        ("400_000", 400_000),
        ("64K", 64_000),
    ],
)
def test_tokens_may_have_a_unit(text: str, tokens: int) -> None:
    assert token_count("--kv-tokens", text) == tokens


@pytest.mark.parametrize("text", ["", "0", "-5", "400g", "1e5", "k", "0.1"])
def test_other_texts_are_no_tokens(text: str) -> None:
    with pytest.raises(SettingError, match=r"--kv-tokens .*expected a number of tokens"):
        token_count("--kv-tokens", text)


def test_seeds_are_listed_or_a_range() -> None:
    assert seed_list(["1,2,3"]) == [1, 2, 3]
    assert seed_list(["5", "1-3,2"]) == [5, 1, 2, 3]


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1,,2"])
def test_other_texts_are_no_seeds(text: str) -> None:
    with pytest.raises(SettingError, match=r"--seed .*expected a whole number or a range"):
        seed_list([text])


def test_whole_numbers_rise() -> None:
    assert whole_numbers("--sweep", "16, 4,8,4") == [4, 8, 16]
    with pytest.raises(SettingError, match=r"--sweep 4,x: 'x' is not a whole number"):
        whole_numbers("--sweep", "4,x")
