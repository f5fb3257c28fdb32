"""Predictions of the pauses of a trace are made when they begin, and scored when they are over."""

from __future__ import annotations

import random
from typing import Any

import pytest

from agentrt.predict.evaluation import BASELINE, SCORED, PerToolCdf, Score, as_document, evaluate
from agentrt.predict.pauses import TURN_S, Begins, Ends, pauses
from agentrt_engine.policy.prediction import Call
from agentrt_engine.wire.trace import PauseKind, ProgramRecord, ToolRecord, TurnRecord


def program(name: str, *lengths: float | None, tool: str = "bash") -> ProgramRecord:
    turns = [
        TurnRecord(10, 10, 5, seconds, PauseKind.TOOL, (ToolRecord(tool, seconds),))
        for seconds in lengths
    ]
    return ProgramRecord(name, "agent", (*turns, TurnRecord(10, 10, 5, 0.0, PauseKind.FINAL)))


def test_events_come_in_the_order_of_time() -> None:
    events = list(pauses([program("a", 10.0, 1.0), program("b", 3.0), program("c", 2.0)], 2))
    told: list[Any] = [
        (type(each).__name__, each.call.program if each.call else each.program, each.seconds)
        if isinstance(each, Ends)
        else ("Begins", each.call.program, each.seconds)
        for each in events
    ]
    # c begins when b has ended; each turn takes 2 s.
    assert TURN_S == 2.0
    assert told == [
        ("Begins", 0, 10.0),  # 2 s
        ("Begins", 1, 3.0),
        ("Ends", 1, 3.0),  # 5 s
        ("Ends", 1, 0.0),  # 7 s: the program
        ("Begins", 2, 2.0),  # 9 s
        ("Ends", 2, 2.0),  # 11 s
        ("Ends", 0, 10.0),  # 12 s
        ("Ends", 2, 0.0),  # 13 s
        ("Begins", 0, 1.0),  # 14 s
        ("Ends", 0, 1.0),
        ("Ends", 0, 0.0),
    ]


def test_only_pauses_for_tools_whose_length_is_known_count() -> None:
    user = TurnRecord(10, 10, 5, 90.0, PauseKind.USER)
    final = TurnRecord(10, 10, 5, 0.0, PauseKind.FINAL)
    asked = ProgramRecord("u", "agent", (user, final))
    events = list(pauses([asked, program("x", None)], 4))
    assert [event for event in events if isinstance(event, Begins)] == []


def test_several_tools_of_a_turn_are_one_call() -> None:
    tools = (ToolRecord("grep", 1.0), ToolRecord("bash", 2.0, "git log"), ToolRecord("grep", 1.0))
    turn = TurnRecord(10, 10, 700, 2.0, PauseKind.TOOL, tools)
    final = TurnRecord(10, 10, 5, 0.0, PauseKind.FINAL)
    [begins, *_] = pauses([ProgramRecord("p", "agent", (turn, final))], 1)
    assert isinstance(begins, Begins)
    assert begins.call == Call(0, "bash+grep", 3, 700, "git log")


def test_pinball_loss_by_hand() -> None:
    score = Score()
    score.add(dict.fromkeys(SCORED, 2.0), 5.0)  # 3 s too short
    score.add(dict.fromkeys(SCORED, 2.0), 1.0)  # 1 s too long
    assert score.losses[0.9] == pytest.approx(0.9 * 3 + 0.1 * 1)
    assert score.losses[0.1] == pytest.approx(0.1 * 3 + 0.9 * 1)
    assert score.covered[0.5] == 1


def test_continuums_rule() -> None:
    rule = PerToolCdf()
    # Below a hundred durations a pause is taken for Exp(1).
    assert rule.quantiles(Call(0, "bash"), (0.5,))[0.5] == pytest.approx(0.6931, abs=1e-4)
    for seconds in range(100):
        rule.observe(Call(0, "bash"), float(seconds))
    assert rule.quantiles(Call(0, "bash"), (0.9,))[0.9] == 90.0
    assert rule.quantiles(Call(0, "other"), (0.9,))[0.9] == 90.0


def test_programs_that_are_alike_within_are_predicted_better() -> None:
    """Half of the programs wait long, the others briefly: only the history tells which."""
    programs = [program(str(n), *[30.0 if n % 2 else 0.5] * 12) for n in range(80)]
    found = evaluate(pauses(programs, 8))
    assert found.pauses == 80 * 12
    assert found.relative(BASELINE) == 1.0
    assert found.relative("tool, history") < 0.6
    assert found.relative("tool") == pytest.approx(1.0, abs=0.1)
    [document] = as_document([("trace", found)])
    assert document["pauses"] == 960


def test_without_a_pattern_nothing_is_worse() -> None:
    rng = random.Random(1)
    programs = [program(str(n), *[rng.expovariate(0.5) for _ in range(12)]) for n in range(120)]
    found = evaluate(pauses(programs, 8))
    assert found.relative("tool, history, arguments") < 1.03
