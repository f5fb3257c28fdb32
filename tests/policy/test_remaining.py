"""What the estimate of remaining work learns from made-up fleets."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest

from agentrt_engine.errors import SettingError
from agentrt_engine.policy.remaining import MAX_PROGRAMS, RemainingWork

PREFILL_S, DECODE_S = 1e-4, 1e-2
NEW, OUTPUT = 500, 100
TURN_S = NEW * PREFILL_S + OUTPUT * DECODE_S


def estimator() -> RemainingWork:
    return RemainingWork(PREFILL_S, DECODE_S)


def play(
    work: RemainingWork,
    turns: int,
    *,
    name: str = "p",
    agent: str = "coder",
    output: int = OUTPUT,
    max_turns: int | None = None,
    tools: tuple[str, ...] = (),
    until: int | None = None,
) -> list[float]:
    """Run a program of equal turns, or only `until` a turn; the estimates before each."""
    work.started(name, agent, NEW, max_turns)
    estimates = []
    for turn in range(turns):
        if turn > 0:
            tool = tools[(turn - 1) % len(tools)] if tools else None
            prompt = turn * (NEW + output) + NEW
            work.pause_ended(name, pause_s=1.0, prompt_tokens=prompt, tool=tool)
        estimates.append(work.estimate(name).seconds)
        if turn == until:
            return estimates
        prompt = turn * (NEW + output) + NEW
        work.turn_ended(name, prompt_tokens=prompt, new_tokens=NEW, output_tokens=output)
    work.ended(name)
    return estimates


def test_of_equal_programs_the_remaining_work_is_known_exactly() -> None:
    work = estimator()
    for _ in range(200):
        play(work, 3)
    expected = [3 * TURN_S, 2 * TURN_S, TURN_S]
    assert play(work, 3) == pytest.approx(expected, rel=0.05)


def test_agents_are_told_apart() -> None:
    work = estimator()
    for _ in range(100):
        play(work, 2, agent="quick")
        play(work, 20, agent="thorough")
    assert play(work, 2, agent="quick")[0] == pytest.approx(2 * TURN_S, rel=0.2)
    assert play(work, 20, agent="thorough")[0] == pytest.approx(20 * TURN_S, rel=0.2)


def test_an_agent_never_seen_is_taken_for_a_typical_one() -> None:
    work = estimator()
    for _ in range(100):
        play(work, 4)
    assert play(work, 4, agent="new")[0] == pytest.approx(4 * TURN_S, rel=0.1)
    assert work.estimate("not started").seconds == pytest.approx(4 * TURN_S, rel=0.1)


def test_what_a_turn_looked_like_foretells_how_many_follow() -> None:
    rng = random.Random(7)
    work = estimator()
    for _ in range(300):
        if rng.random() < 0.5:
            play(work, 3, output=400)
        else:
            play(work, 12, output=40)
    long_answers = play(work, 3, output=400)[1]
    short_answers = play(work, 12, output=40)[1]
    assert long_answers == pytest.approx(2 * (NEW * PREFILL_S + 400 * DECODE_S), rel=0.1)
    assert short_answers == pytest.approx(11 * (NEW * PREFILL_S + 40 * DECODE_S), rel=0.1)
    assert work.skill > 0.5


def test_declared_turns_are_used_where_they_foretell_the_work() -> None:
    rng = random.Random(7)
    work = estimator()
    for _ in range(300):
        turns = rng.choice([2, 4, 8, 16])
        play(work, turns, max_turns=turns)
    for turns in (2, 4, 8, 16):
        assert play(work, turns, max_turns=turns)[0] == pytest.approx(turns * TURN_S, rel=0.25)


def test_a_tool_that_comes_before_the_end_shortens_the_estimate() -> None:
    rng = random.Random(7)
    work = estimator()
    for _ in range(300):
        edits = rng.randrange(1, 12)
        play(work, edits + 2, tools=("edit",) * edits + ("submit",))
    before_edit = play(work, 9, tools=("edit",) * 9, until=4)[-1]
    before_submit = play(work, 5, tools=("edit",) * 3 + ("submit",))[-1]
    assert before_submit < 0.7 * before_edit


def test_estimates_are_informative_once_they_were_right_often_enough() -> None:
    work = estimator()
    flags = []
    for _ in range(100):
        for agent, turns in (("quick", 2), ("thorough", 12)):
            play(work, turns, agent=agent, until=0)
            flags.append(work.estimate("p").informative)
            play(work, turns, agent=agent)
    assert flags[0] is False
    assert flags[-1] is True


def test_programs_of_pure_chance_are_never_called_informative() -> None:
    rng = random.Random(7)
    work = estimator()
    for _ in range(400):
        turns = 1
        while rng.random() < 0.8:
            turns += 1
        play(work, turns, until=0)
        assert not work.estimate("p").informative
        play(work, turns)


def test_a_running_program_teaches_nothing_until_it_ends() -> None:
    work = estimator()
    for _ in range(50):
        play(work, 4)
    before = work.snapshot()
    play(work, 40, name="running", until=30)
    assert work.snapshot() == before
    work.dropped("running")
    assert work.snapshot() == before
    play(work, 40, name="running")
    assert work.snapshot() != before


def test_an_estimate_stays_until_something_happens_to_its_program() -> None:
    work = estimator()
    for _ in range(50):
        play(work, 4)
    play(work, 4, name="waiting", until=1)
    before = work.estimate("waiting")
    for _ in range(50):
        play(work, 30)
    assert work.estimate("waiting").seconds == before.seconds


def test_events_of_an_unknown_program_are_ignored() -> None:
    work = estimator()
    before = work.snapshot()
    work.turn_ended("x", prompt_tokens=1, new_tokens=1, output_tokens=1)
    work.pause_ended("x", pause_s=1.0, prompt_tokens=1)
    work.ended("x")
    work.dropped("x")
    assert work.snapshot() == before
    assert work.estimate("x").informative is False


def test_the_oldest_of_too_many_running_programs_is_forgotten() -> None:
    work = estimator()
    for program in range(MAX_PROGRAMS + 1):
        work.started(str(program), "coder", NEW)
    before = work.snapshot()
    work.ended("0")
    assert work.snapshot() == before
    work.ended("1")
    assert work.snapshot() != before


def test_a_restored_snapshot_is_the_original() -> None:
    rng = random.Random(7)
    work = estimator()
    for _ in range(150):
        play(work, rng.randrange(1, 30), output=rng.choice([40, 400]), agent=rng.choice("ab"))
    saved = work.snapshot()
    through_json = json.loads(json.dumps(saved))
    restored = RemainingWork.restore(through_json, prefill_s=PREFILL_S, decode_s=DECODE_S)
    assert restored.snapshot() == saved
    assert restored.skill == work.skill
    play(work, 10, until=6)
    play(restored, 10, until=6)
    assert restored.estimate("p").informative == work.estimate("p").informative
    # The regression is solved anew, with quantiles of the rows held.
    seconds = work.estimate("p").seconds
    assert restored.estimate("p").seconds == pytest.approx(seconds, rel=0.3)


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 2},
        {"stages": []},
        {"agents": {"a": 3}},
        {"tools": {"t": [1.0]}},
        {"tools": {"t": [-5.0, 1.0]}},
        {"regressions": []},
        {"regressions": [{"learned": 1, "rows": [[[1.0], 1.0]]}] * 5},
        {"skill": [math.nan] * 6},
        {"skill": [0.0]},
    ],
    ids=str,
)
def test_a_damaged_snapshot_is_refused(damage: dict[str, Any]) -> None:
    sound = estimator().snapshot()
    with pytest.raises(SettingError, match="saved estimates of remaining work are unusable"):
        RemainingWork.restore(sound | damage, prefill_s=PREFILL_S, decode_s=DECODE_S)
