"""What hints do, and what is answered."""

from __future__ import annotations

from typing import Any

import pytest

from agentrt_engine.policy import Phase
from agentrt_engine.sglang.scheduler.state import Limits
from agentrt_engine.wire.control import OwnedHint
from agentrt_engine.wire.hints import Hint, HintKind, HintOutcome, HintResult
from agentrt_engine.wire.identity import ProgramTag
from tests.support.scheduler_loop import SchedulerLoop

PROMPT = list(range(40))


def paused(policy: str = "guard", **limits: Any) -> SchedulerLoop:
    """An engine with the program `a`, which has had one turn."""
    loop = SchedulerLoop(policy, 300, limits=Limits(**limits))
    loop.ask(ProgramTag("a"), PROMPT, 3)
    for _ in range(5):
        loop.step()
    return loop


def hint(
    loop: SchedulerLoop, kind: HintKind, owner: str = "", program: str = "a", **fields: Any
) -> HintOutcome:
    return loop.programs.hints.apply(OwnedHint(owner, Hint(program, kind, **fields)))


def held_tokens(loop: SchedulerLoop) -> int:
    return loop.programs.state.idle.tokens


def test_the_end_of_a_program_frees_what_is_held_for_it() -> None:
    loop = paused()
    assert held_tokens(loop) == 43

    assert hint(loop, HintKind.ENDED).outcome is HintResult.APPLIED

    assert held_tokens(loop) == 0
    assert loop.programs.state.totals.programs_ended == {"hint": 1}


def test_the_end_waits_for_the_turn_that_is_under_way() -> None:
    loop = paused()
    loop.ask(ProgramTag("a"), [*PROMPT, 1], 3)
    assert hint(loop, HintKind.ENDED).outcome is HintResult.DEFERRED

    for _ in range(5):
        loop.step()

    assert len(loop.programs.state.table) == 0


def test_the_start_of_a_tool_is_answered_with_the_lease_and_the_prediction() -> None:
    loop = paused()
    told = {"0.5": 2.0, "0.95": 30.0}
    live = loop.programs.state.table.find("", "a")
    assert live is not None
    elapsed_s = loop.programs.state.now - live.program.paused_s

    outcome = hint(loop, HintKind.TOOL_STARTED, tool="bash", expected_s=told)

    assert outcome.held_tokens == held_tokens(loop)
    assert outcome.ttl_s is not None
    assert outcome.pause_s is not None
    assert outcome.pause_s == pytest.approx({q: s + elapsed_s for q, s in told.items()})


def test_a_policy_that_holds_nothing_says_nothing_of_the_pause() -> None:
    outcome = hint(paused("lru"), HintKind.TOOL_STARTED, tool="bash")
    assert outcome == HintOutcome("a", HintKind.TOOL_STARTED, HintResult.APPLIED)


@pytest.mark.parametrize(("owner", "program"), [("k2", "a"), ("", "b")])
def test_programs_of_others_are_unknown(owner: str, program: str) -> None:
    loop = paused()
    for kind in HintKind:
        outcome = hint(loop, kind, owner=owner, program=program)
        assert (outcome.outcome, outcome.why) == (HintResult.REJECTED, "unknown program")
    assert held_tokens(loop) == 43


def test_a_tool_that_starts_gives_its_program_a_lease_by_that_tool() -> None:
    loop = paused()
    program = next(iter(loop.programs.state.programs.values()))

    assert hint(loop, HintKind.TOOL_STARTED, tool="bash").outcome is HintResult.APPLIED

    assert program.tool == "bash"


def test_a_tool_that_starts_before_its_turn_has_ended_counts_afterwards() -> None:
    loop = paused()
    loop.ask(ProgramTag("a"), [*PROMPT, 1], 3)
    loop.step()
    program = next(iter(loop.programs.state.programs.values()))
    assert hint(loop, HintKind.TOOL_STARTED, tool="grep").outcome is HintResult.DEFERRED

    for _ in range(5):
        loop.step()

    assert program.phase is Phase.PAUSED
    assert program.tool == "grep"


@pytest.mark.parametrize("kind", [HintKind.TOOL_STARTED, HintKind.TOOL_FINISHED, HintKind.PIN])
def test_a_hint_that_comes_after_its_pause_is_of_no_use(kind: HintKind) -> None:
    loop = paused()
    loop.ask(ProgramTag("a"), [*PROMPT, 1], 3)
    outcome = hint(loop, kind, tool="bash")
    assert (outcome.outcome, outcome.why) == (
        HintResult.REJECTED,
        "its next turn is there already",
    )


def test_an_expected_duration_is_the_prediction() -> None:
    loop = paused()
    hint(loop, HintKind.TOOL_STARTED, tool="bash", expected_s={"0.5": 7.0, "0.9": 20.0})
    live = next(iter(loop.programs.state.table))
    assert live.predicted_s == pytest.approx(7.0, rel=0.15)


def test_quantiles_that_fall_are_refused_and_change_nothing() -> None:
    loop = paused()
    program = next(iter(loop.programs.state.programs.values()))
    outcome = hint(loop, HintKind.TOOL_STARTED, tool="bash", expected_s={"0.1": 9.0, "0.9": 2.0})
    assert outcome.outcome is HintResult.REJECTED
    assert outcome.why.startswith("expected_s: ")
    assert program.expected is None


def test_a_tool_that_has_hardly_begun_may_take_long_but_not_for_ever() -> None:
    loop = paused()
    loop.step(10.0)
    assert hint(loop, HintKind.TOOL_PROGRESS, progress=5e-324).outcome is HintResult.APPLIED


def test_pauses_are_compared_with_their_predictions() -> None:
    loop = paused()
    hint(loop, HintKind.TOOL_STARTED, tool="bash", expected_s={"0.5": 7.0})
    loop.step(5.0)
    loop.ask(ProgramTag("a"), [*PROMPT, 1], 3)

    totals = loop.programs.state.totals
    assert totals.pauses == 1
    assert totals.pause_s == pytest.approx(5.0, abs=0.1)
    assert totals.pause_error_s == pytest.approx(2.0, abs=1.5)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_pin_keeps_what_a_senior_would_take(pinned: bool) -> None:
    loop = SchedulerLoop("guard", 300)
    loop.ask(ProgramTag("senior"), list(range(100, 120)), 1)
    loop.ask(ProgramTag("a"), PROMPT, 3)
    for _ in range(5):
        loop.step()
    if pinned:
        assert hint(loop, HintKind.PIN, ttl_s=60.0).outcome is HintResult.APPLIED
    loop.ask(ProgramTag("busy"), list(range(200, 210)), 100)
    loop.step()

    loop.ask(ProgramTag("senior"), list(range(100, 300)), 10)
    for _ in range(30):
        loop.step()

    held = {each.program.program_id: each.context.tokens for each in loop.programs.state.idle}
    assert (held.get("a", 0) == 43) == pinned


def test_a_pin_yields_when_nothing_else_can_be_freed() -> None:
    loop = paused()
    hint(loop, HintKind.PIN, ttl_s=300.0)

    loop.ask(ProgramTag("other"), list(range(500, 780)), 10)
    for _ in range(1000):
        loop.step(0.05)

    assert not loop.queue and not loop.running


def test_a_pin_is_cut_to_the_longest_there_is() -> None:
    loop = paused(pin_s=10.0)
    outcome = hint(loop, HintKind.PIN, ttl_s=1e6)
    assert (outcome.outcome, outcome.why) == (HintResult.CLIPPED, "pinned for 10 s")


def test_only_so_much_can_be_pinned() -> None:
    loop = paused(lease_share=0.2)
    assert hint(loop, HintKind.PIN, ttl_s=5.0).outcome is HintResult.REJECTED


def test_demoted_kv_is_free_for_others() -> None:
    loop = paused()
    assert hint(loop, HintKind.DEMOTE).outcome is HintResult.APPLIED
    assert held_tokens(loop) == 0
    assert loop.programs.state.totals.reclaims == {"demoted": 1}
    assert hint(loop, HintKind.DEMOTE).outcome is HintResult.REJECTED


@pytest.mark.parametrize("kind", [HintKind.PIN, HintKind.RETAIN, HintKind.DEMOTE])
def test_a_policy_that_holds_no_kv_says_so(kind: HintKind) -> None:
    outcome = hint(paused("lru"), kind)
    assert (outcome.outcome, outcome.why) == (
        HintResult.UNSUPPORTED,
        "policy lru holds no KV",
    )


@pytest.mark.parametrize(
    ("keys", "asked", "got", "outcome"),
    [
        (1, 3.0, 3.0, HintResult.APPLIED),
        (1, 50.0, 10.0, HintResult.CLIPPED),
        (2, 3.0, 0.0, HintResult.CLIPPED),
        (2, -3.0, -3.0, HintResult.APPLIED),
    ],
)
def test_nobody_gets_before_the_programs_of_other_keys(
    keys: int, asked: float, got: float, outcome: HintResult
) -> None:
    loop = paused(keys=keys)
    assert hint(loop, HintKind.PRIORITY, priority=asked).outcome is outcome
    assert next(iter(loop.programs.state.programs.values())).priority == got


def test_remaining_work_counts_from_now() -> None:
    loop = paused()
    hint(loop, HintKind.REMAINING, remaining_turns=4, remaining_s=2.5)
    program = next(iter(loop.programs.state.programs.values()))
    assert (program.max_turns, program.remaining_s) == (5, 2.5)


def test_every_hint_is_counted_by_its_outcome() -> None:
    loop = paused()
    for kind in HintKind:
        hint(loop, kind)
    assert sum(loop.programs.state.totals.hints.values()) == len(HintKind)
