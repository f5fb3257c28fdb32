"""Cost profiles: those that come along, files of one's own, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.errors import ProfileError
from agentrt_engine.simulated.costs import TickCosts
from agentrt_engine.simulated.profile import load_profile, profile_names

GOOD = {
    "base_ms": "4",
    "overhead_ms": "1.5",
    "decode_ns_per_kv_token": "30",
    "prefill_us_per_token": "20",
    "prefill_ns_per_token_and_position": "0.5",
    "kv_bytes_per_token": "1000",
}


def write(path: Path, **changes: str | None) -> str:
    fields = {**GOOD, **changes}
    lines = [f"{name} = {value}" for name, value in fields.items() if value is not None]
    path.write_text("\n".join(lines), "utf-8")
    return str(path)


def test_the_profiles_that_come_along() -> None:
    assert profile_names() == [
        f"llama-3.1-{model}-{gpu}"
        for model in ("70b-tp4", "8b")
        for gpu in ("a100", "b200", "h100", "h200")
    ]


@pytest.mark.parametrize("name", profile_names())
def test_each_of_them_says_what_it_is_and_where_it_is_from(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.title
    assert profile.source
    assert profile.kv_bytes_per_token == (327_680 if "70b" in name else 131_072)


def test_the_figures_of_one() -> None:
    costs = load_profile("llama-3.1-8b-h200").costs()
    assert costs.fixed_s == pytest.approx(5.3e-3)
    assert costs.decode_s == pytest.approx(30.2e-9)
    assert costs.prefill_s == pytest.approx(19.1e-6)
    assert costs.position_s == pytest.approx(0.80e-9)
    assert (costs.host_s, costs.host_latency_s) == (None, 0.0)


def test_prefill_shares_steps_unless_the_profile_says_no(tmp_path: Path) -> None:
    assert load_profile("llama-3.1-8b-h200").mixed_steps
    assert not load_profile(write(tmp_path / "own.toml", mixed_steps="false")).mixed_steps
    with pytest.raises(ProfileError, match="mixed_steps = 1: expected true or false"):
        load_profile(write(tmp_path / "bad.toml", mixed_steps="1"))


def test_a_host_tier_costs_bytes_over_bandwidth() -> None:
    costs = load_profile("llama-3.1-8b-h200").costs(host_gbps=50, host_latency_s=1e-4)
    assert costs.host_s == pytest.approx(131_072 / 50e9)
    assert costs.host_latency_s == 1e-4


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path / "mine.toml", title='"Mine"'))
    assert (profile.name, profile.title, profile.source) == ("mine", "Mine", "")
    assert profile.costs().fixed_s == pytest.approx(5.5e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_ms": None}, "base_ms = None: expected a number"),
        ({"base_ms": "-1"}, "base_ms = -1: expected a finite number >= 0"),
        ({"base_ms": "nan"}, "base_ms = nan: expected a finite number >= 0"),
        ({"base_ms": "true"}, "base_ms = True: expected a number"),
        ({"base_ms": '"4"'}, "base_ms = '4': expected a number"),
        ({"bas_ms": "4"}, "unknown field 'bas_ms': expected title, source, base_ms"),
        ({"base_ms": "4 ms"}, "not TOML: "),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(
    tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    path = write(tmp_path / "wrong.toml", **changes)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert f"{path}: {message}" in str(caught.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="cannot be read as text"):
        load_profile(str(path))


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ProfileError, match=r"no profile and no file 'llama-3\.1-8b-h20'") as caught:
        load_profile("llama-3.1-8b-h20")
    assert caught.value.hint == "did you mean llama-3.1-8b-h200?"
    with pytest.raises(ProfileError) as caught:
        load_profile("zzz")
    assert caught.value.hint == ""


@given(first=st.integers(0, 5000), middle=st.integers(0, 5000), last=st.integers(0, 5000))
def test_prefill_in_parts_costs_what_it_costs_at_once(first: int, middle: int, last: int) -> None:
    costs = TickCosts(fixed=0, decode=0, token=7, position=3)
    middle += first
    last += middle
    assert costs.prefill(first, last) == costs.prefill(first, middle) + costs.prefill(middle, last)
    assert costs.prefill(first, last) == sum(7 + 3 * position for position in range(first, last))
