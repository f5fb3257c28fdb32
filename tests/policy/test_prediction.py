"""How long a tool call will take: what the predictor learns, from what, and what it forgets."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.policy import prediction
from agentrt_engine.policy.prediction import QUANTILES, Call, ToolPredictor

LENGTHS = st.floats(0, 1e6, allow_nan=False)
CALLS = st.builds(
    Call,
    program=st.integers(0, 2),
    tool=st.sampled_from(["bash", "read"]),
    calls=st.integers(1, 6),
    output_tokens=st.integers(0, 10_000),
    signature=st.sampled_from(["", "pytest", "git log"]),
)


def median(predictor: ToolPredictor, call: Call) -> float:
    return predictor.quantiles(call, (0.5,))[0.5]


@given(seen=st.lists(st.tuples(CALLS, LENGTHS, st.booleans()), max_size=40), call=CALLS)
def test_quantiles_are_positive_and_rise(seen: list[tuple[Call, float, bool]], call: Call) -> None:
    predictor = ToolPredictor()
    for each, seconds, censored in seen:
        predictor.observe(each, seconds, censored=censored)
    found = predictor.quantiles(call)
    assert list(found) == sorted(QUANTILES)
    assert list(found.values()) == sorted(found.values())
    assert all(0 <= seconds < 1e9 for seconds in found.values())


def test_nothing_is_known_at_first() -> None:
    found = ToolPredictor().quantiles(Call("p", "bash"))
    assert found[0.5] == pytest.approx(prediction.PRIOR_MEDIAN_S, rel=0.1)
    assert found[0.99] < 60


@given(seconds=st.floats(0.02, 1000))
def test_it_learns_a_tool_that_always_takes_as_long(seconds: float) -> None:
    predictor = ToolPredictor()
    for number in range(200):
        predictor.observe(Call(number, "bash"), seconds)
    found = predictor.quantiles(Call("new", "bash"))
    # Bins are a fifth wide.
    assert seconds / 1.21 <= found[0.1] and found[0.9] <= seconds * 1.21


def test_a_tool_that_nobody_knows_takes_as_long_as_others() -> None:
    predictor = ToolPredictor()
    for number in range(100):
        predictor.observe(Call(number, "bash"), 40.0)
    assert median(predictor, Call("new", "other")) == pytest.approx(40.0, rel=0.2)


def alternating(predictor: ToolPredictor, long: str = "", short: str = "") -> None:
    """Programs whose calls all take long, and others whose calls are short."""
    for number in range(60):
        for _ in range(10):
            predictor.observe(Call(f"long {number}", "bash", signature=long), 30.0)
            predictor.observe(Call(f"short {number}", "bash", signature=short), 0.3)


def test_a_programs_last_calls_tell_what_the_next_is_like() -> None:
    predictor = ToolPredictor()
    alternating(predictor)
    predictor.observe(Call("new", "bash"), 25.0)
    assert median(predictor, Call("new", "bash")) > 20
    predictor.observe(Call("other", "bash"), 0.25)
    assert median(predictor, Call("other", "bash")) < 1
    # Without the history both are alike.
    blind = ToolPredictor(depth=0)
    alternating(blind)
    blind.observe(Call("new", "bash"), 25.0)
    assert median(blind, Call("new", "bash")) == median(blind, Call("other", "bash"))


def test_a_program_that_ended_is_forgotten() -> None:
    predictor = ToolPredictor()
    alternating(predictor)
    call = Call("new", "bash")
    predictor.observe(call, 0.25)
    assert predictor.quantiles(call)[0.9] < 1
    predictor.forget("new")
    assert predictor.quantiles(call)[0.9] > 20


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (Call("new", "bash", signature="pytest"), Call("new", "bash", signature="ls")),
        (Call("new", "bash", output_tokens=900), Call("new", "bash", output_tokens=20)),
        (Call("new", "bash", calls=4), Call("new", "bash", calls=1)),
    ],
    ids=["signature", "size", "calls"],
)
def test_arguments_tell_what_a_call_is_like(long: Call, short: Call) -> None:
    predictor = ToolPredictor(depth=0)
    rng = random.Random(1)
    for _ in range(600):
        call, seconds = rng.choice([(long, 30.0), (short, 0.3)])
        predictor.observe(call, seconds)
    assert median(predictor, long) > 10
    assert median(predictor, short) < 1


def test_a_pause_that_was_cut_off_only_lasted_longer() -> None:
    cut, ended = ToolPredictor(depth=0), ToolPredictor(depth=0)
    for number in range(100):
        for predictor in (cut, ended):
            predictor.observe(Call(number, "bash"), 1.0)
        cut.observe(Call(number, "bash"), 1.0, censored=True)
    for number in range(100):
        cut.observe(Call(number, "bash"), 20.0)
    assert median(ended, Call("new", "bash")) == pytest.approx(1.0, rel=0.2)
    # 100 ended and 100 were cut off at 1 s; all that went on, went on to 20 s.
    assert median(cut, Call("new", "bash")) > 15


def test_old_calls_fade() -> None:
    predictor = ToolPredictor(depth=0)
    for number in range(20_000):
        predictor.observe(Call(number, "bash"), 1.0)
    for number in range(2 * prediction.MOST_COUNTED):
        predictor.observe(Call(number, "bash"), 60.0)
    assert median(predictor, Call("new", "bash")) == pytest.approx(60.0, rel=0.2)


def test_the_number_of_cases_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "MOST_CASES", 50)
    predictor = ToolPredictor()
    for number in range(500):
        predictor.observe(Call(number, f"tool {number}", signature=f"s{number}"), 1.0)
    assert len(predictor._cases) == 50
    assert median(predictor, Call("new", "tool 0")) > 0
