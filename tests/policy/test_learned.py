"""What policies learn survives: one that recalls decides as the one that learned."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt_engine.errors import SettingError
from agentrt_engine.policy import (
    Costs,
    Phase,
    Policy,
    Program,
    Turn,
    live_policy_names,
    make_live_policy,
)
from agentrt_engine.policy.durations import ToolDurations
from agentrt_engine.policy.empirical import EmpiricalDurations
from tests.support.fake_engine import FakeEngine

COSTS = Costs(fixed_s=0.01, decode_s=0.0, prefill_s=1e-3, position_s=1e-6)
LEARNING = {"guard", "guard-srpt", "continuum", "asym", "thunder"}
MB = 10**6

#: Tool, seconds of the pause, tokens of the output, whether KV had been evicted. So few that the
#: tables of histograms and regressions are always fresh: later they lag by a few percent.
histories = st.lists(
    st.tuples(
        st.sampled_from(["bash", "edit", ""]),
        st.floats(0.0, 5000.0),
        st.integers(1, 2000),
        st.booleans(),
    ),
    max_size=25,
)


def observed(policy: Policy, history: list[tuple[str, float, int, bool]]) -> Policy:
    """The policy after programs of two turns each."""
    policy.attach(COSTS)
    for at, (tool, seconds, output, evicted) in enumerate(history):
        program = Program(f"h{at}", at, float(at), agent="a", prompt_tokens=100)
        now = 10.0 * at
        policy.program_started(now, program)
        for turns in (1, 2):
            turn = Turn(program, now, program.prompt_tokens, evicted=evicted)
            policy.turn_started(now + 0.5, turn, cached=not evicted)
            program.turns, program.output_tokens = turns, output
            program.phase, program.paused_s, program.tool = Phase.PAUSED, now, tool
            policy.turn_ended(now, program)
            if turns == 1:
                now += seconds
                program.prompt_tokens += output
                policy.pause_ended(now, program)
                program.phase, program.tool = Phase.WAITING, None
        program.phase = Phase.ENDED
        policy.program_ended(now, program)
    return policy


def decisions(policy: Policy) -> list[object]:
    """What it does with three programs, whatever the load was before."""
    made: list[object] = []
    engine = FakeEngine(capacity_tokens=700)
    programs = {}
    for at, tool in enumerate(["bash", "edit", "new"]):
        program = Program(f"p{at}", at, 1e6 + at, agent="a", prompt_tokens=200)
        policy.program_started(1e6, program)
        programs[program.program_id] = program
        made.append(policy.rank(1e6, Turn(program, 1e6, 200)))
        program.phase, program.tool, program.paused_s = Phase.PAUSED, tool, 1e6
        program.context_tokens = 200
        lease = policy.lease(1e6, program, engine)
        made.append(lease and lease.until_s)
        made.append([policy.predict_pause(program, q) for q in (0.5, 0.95)])
    engine.programs = programs
    programs["p2"].phase = programs["p1"].phase = Phase.WAITING
    engine.queue = [programs["p1"], programs["p2"]]
    policy.open_gate(1e6, engine)
    turns = [Turn(program, 1e6, 200) for program in programs.values()]
    return made + [policy.admit(1e6, turn, engine) for turn in turns]


def priced(policy: Policy) -> Policy:
    """Told of the same load, which is not learned."""
    policy.stepped(1e6, 1e6, 1.0, 50.0, 0.5)
    return policy


@pytest.mark.parametrize("name", live_policy_names())
@settings(deadline=None, max_examples=30)
@given(history=histories)
def test_a_policy_that_recalls_decides_as_the_one_that_learned(
    name: str, history: list[tuple[str, float, int, bool]]
) -> None:
    first = observed(make_live_policy(name), history)
    saved = json.loads(json.dumps(first.learned()))
    assert bool(saved) is (name in LEARNING)
    second = make_live_policy(name)
    second.attach(COSTS)
    second.recall(saved)
    assert second.learned() == first.learned()
    assert decisions(priced(second)) == decisions(priced(first))


def learned(name: str) -> dict[str, Any]:
    history = [("bash", 1.0 + at, 50 + at, at % 2 == 0) for at in range(12)]
    data: dict[str, Any] = json.loads(
        json.dumps(observed(make_live_policy(name), history).learned())
    )
    return data


FIELDS = [(name, field) for name in sorted(LEARNING) for field in learned(name)]


@pytest.mark.parametrize(("name", "field"), FIELDS)
@pytest.mark.parametrize("damage", [None, "text", -1, float("nan"), {"bins": 3}, [[1]], "missing"])
def test_a_damaged_field_is_refused_by_name_and_changes_nothing(
    name: str, field: str, damage: object
) -> None:
    policy = make_live_policy(name)
    policy.attach(COSTS)
    policy.recall(learned(name))
    before = copy.deepcopy(policy.learned())
    data = learned(name)
    data[field] = damage
    if damage == "missing":
        del data[field]
    with pytest.raises(SettingError, match=f"learned statistics: field {field}: ") as caught:
        policy.recall(data)
    assert caught.value.hint
    assert policy.learned() == before


def test_what_another_version_learned_is_refused() -> None:
    data = learned("guard") | {"version": 2}
    with pytest.raises(SettingError, match=r"field version: .*2, expected 1"):
        make_live_policy("guard").recall(data)


def test_saved_durations_are_bounded_and_the_newest_tools_stay() -> None:
    durations, samples = ToolDurations(), EmpiricalDurations()
    names = [f"tool-{at:04}-" + "x" * 100 for at in range(4096)]
    for name in names:
        for bin_ in range(60):
            durations.observe(name, 0.009 * 1.2**bin_)
            samples.observe(name, 1.234567890123 * 1.01**bin_)
    for saved in (durations.snapshot(), samples.snapshot()):
        assert len(json.dumps(saved)) < 2.5 * MB
        kept = list(saved["tools"])
        assert kept == names[-len(kept) :]
        assert len(kept) > 500
