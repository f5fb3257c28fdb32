"""Who is held, who yields, and who is charged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import pytest

from agentrt_engine.sglang.scheduler.core import PREPARE_AT_LAST
from agentrt_engine.sglang.scheduler.lifecycle import MAX_WAIT
from agentrt_engine.sglang.scheduler.room import AT_ONCE, GROWTH_STEPS
from agentrt_engine.sglang.scheduler.state import Limits
from agentrt_engine.wire.control import OwnedHint, SnapshotRequest
from agentrt_engine.wire.hints import Hint, HintKind
from agentrt_engine.wire.identity import ProgramTag
from tests.support.scheduler_loop import Request, SchedulerLoop


def turn(
    loop: SchedulerLoop, name: str, prompt: list[int], output: int = 3, **tag: object
) -> Request:
    """A turn from its request to its last token."""
    request = loop.ask(ProgramTag(name, **tag), prompt, output)  # type: ignore[arg-type]
    for _ in range(400):
        if request not in loop.queue and request not in loop.running:
            return request
        loop.step()
    raise AssertionError("the turn never ends")


def test_the_next_turn_finds_all_of_the_last_one() -> None:
    loop = SchedulerLoop("guard", 300)
    first = turn(loop, "a", list(range(40)))
    assert turn(loop, "a", [*first.tokens, 1, 2]).hit == len(first.tokens)


def test_a_final_turn_leaves_nothing_held() -> None:
    loop = SchedulerLoop("guard", 300)
    turn(loop, "a", list(range(40)), final=True)
    assert len(loop.programs.state.idle) == 0
    assert loop.programs.state.totals.programs_ended == {"final": 1}


def test_a_guessed_identity_never_ends_by_final() -> None:
    loop = SchedulerLoop("guard", 300)
    turn(loop, "hash", list(range(40)), final=True, fallback=True)
    assert len(loop.programs.state.idle) == 1


def test_a_prompt_that_nobody_can_go_on_from_leaves_nothing() -> None:
    loop = SchedulerLoop("guard", 300)
    turn(loop, "", [1, 2, 3])
    assert len(loop.programs.state.table) == 0


def test_a_lease_is_counted_once_however_often_it_is_renewed() -> None:
    loop = SchedulerLoop("guard", 300)
    turn(loop, "a", list(range(40)))
    for call in range(200):
        hint = Hint("a", HintKind.TOOL_STARTED, tool="bash", call_id=str(call))
        loop.programs.hints.apply(OwnedHint("", hint))

    state = loop.programs.state
    assert state.totals.leases == {"granted": 1}
    assert len(next(iter(state.table)).tools) < 200


def test_an_aborted_turn_frees_what_its_program_holds() -> None:
    loop = SchedulerLoop("guard", 300)
    first = turn(loop, "a", list(range(40)))
    again = loop.ask(ProgramTag("a"), [*first.tokens, 1], 3)
    assert len(loop.programs.state.idle) == 1

    loop.abort(again)

    assert len(loop.programs.state.idle) == 0
    assert len(loop.programs.state.table) == 1


def test_a_program_that_was_aborted_before_its_first_turn_is_forgotten() -> None:
    loop = SchedulerLoop("guard", 300)
    loop.abort(loop.ask(ProgramTag("a"), list(range(40)), 3))
    assert loop.programs.state.totals.programs_ended == {"aborted": 1}


def test_a_silent_program_ends() -> None:
    loop = SchedulerLoop("guard", 300, limits=Limits(idle_s=60.0))
    turn(loop, "a", list(range(40)))
    loop.step(59.0)
    assert len(loop.programs.state.table) == 1
    loop.step(2.0)
    assert loop.programs.state.totals.programs_ended == {"idle": 1}


def test_a_parent_is_not_silent_while_its_child_is_there() -> None:
    loop = SchedulerLoop("guard", 300, limits=Limits(idle_s=60.0))
    turn(loop, "parent", list(range(40)))
    loop.step(40.0)
    turn(loop, "child", list(range(20)), parent_id="parent")
    loop.step(40.0)
    assert len(loop.programs.state.table) == 2


def test_only_the_tail_yields() -> None:
    loop = SchedulerLoop("guard:headroom=0,newcomer=0", 300, limits=Limits(lease_share=1.0))
    senior = turn(loop, "senior", list(range(80)), 20)
    junior = turn(loop, "junior", list(range(200, 300)), 50)
    assert loop.programs.state.idle.tokens == 250

    turn(loop, "senior", [*senior.tokens, *range(900, 970)], 10)

    state = loop.programs.state
    assert state.totals.reclaimed_tokens == {"admission": 30}
    left = state.idle.get(junior.turn.live.program)
    assert left is not None and left.context.tokens == 120
    assert turn(loop, "junior", [*junior.tokens, 1], 1).hit >= 120 - 11


def test_what_yields_to_anybody_does_so_ahead_of_a_turn_that_waits_and_is_found_until_then() -> (
    None
):
    loop = SchedulerLoop("guard:price=1e6", 400)
    paused = [turn(loop, name, [100 * n + k for k in range(40)]) for n, name in enumerate("abc")]
    loop.ask(ProgramTag("running"), list(range(900, 920)), 50)
    loop.step()
    programs = loop.programs
    for _ in range(PREPARE_AT_LAST):
        programs.tick(loop.now)
    assert programs.state.totals.reclaims == {}, "nobody waits"

    programs.room.short_of(60)
    loop.ask(ProgramTag("waiting"), list(range(800, 850)), 5)
    free = loop.free_tokens()
    programs.state.turnover = True  # another turn started
    programs.tick(loop.now)
    assert programs.state.totals.reclaims == {}, "the step in which one starts has no time"
    programs.tick(loop.now)

    taken = 60 + AT_ONCE * (GROWTH_STEPS - 1)
    assert programs.state.totals.reclaimed_tokens == {"ahead": taken}
    assert loop.free_tokens() == free + taken
    assert [turn(loop, r.turn.live.program_id, [*r.tokens, 1], 1).hit for r in paused] == [43] * 3


@pytest.mark.parametrize(
    ("policy", "page", "growth"),
    [("guard:price=1e6", 1, GROWTH_STEPS - 1), ("guard:price=1e6", 20, 20), ("lru", 1, None)],
)
def test_as_much_as_the_next_turn_computes_is_empty_before_it_starts(
    policy: str, page: int, growth: int | None
) -> None:
    loop = SchedulerLoop(policy, 240, page=page)
    for number in range(4):
        turn(loop, str(number), [100 * number + k for k in range(40)])
    loop.ask(ProgramTag("running"), list(range(900, 920)), 50)
    loop.step()
    loop.ask(ProgramTag("waiting"), list(range(800, 850)), 5)
    room, unused = loop.programs.room, loop.unused_tokens()
    room.short_of(100)
    room.started(60)
    room.ahead()
    assert unused < 60
    pages = loop.unused_tokens() // page
    assert pages * page == (unused if growth is None else 60 + AT_ONCE * growth)


@pytest.mark.parametrize(("hurried", "steps"), [(False, 2), (True, MAX_WAIT + 1)])
def test_a_lease_waits_for_a_step_with_time_but_not_for_long(hurried: bool, steps: int) -> None:
    loop = SchedulerLoop("guard", 300)
    ended = turn(loop, "a", list(range(40)))
    held = loop.programs.state.idle.get(ended.turn.live.program)
    assert held is not None
    for _ in range(steps):
        assert held.context.lease is None
        loop.programs.state.turnover |= hurried
        loop.programs.tick(loop.now)
    assert held.context.lease is not None


@pytest.mark.parametrize(
    "notice",
    [
        lambda loop: loop.programs.hints.apply(OwnedHint("", Hint("other", HintKind.RETAIN))),
        lambda loop: loop.programs.snapshot(SnapshotRequest(), 16),
        lambda loop: loop.ask(ProgramTag("a"), list(range(60)), 1),
    ],
    ids=["a hint", "a snapshot", "its next turn"],
)
def test_whoever_may_notice_a_lease_finds_it(notice: Callable[[SchedulerLoop], object]) -> None:
    loop = SchedulerLoop("guard", 300)
    ended = turn(loop, "a", list(range(40)))
    notice(loop)
    held = loop.programs.state.idle.get(ended.turn.live.program)
    assert held is not None
    assert held.context.lease is not None


def test_a_policy_that_is_asked_who_yields_has_given_every_lease() -> None:
    loop = SchedulerLoop("fixed-ttl:seconds=100", 300)
    ended = turn(loop, "a", list(range(40)))
    loop.ask(ProgramTag("running"), list(range(100, 120)), 50)
    loop.step()
    other = turn(loop, "b", list(range(200, 220)), 1)
    asked = loop.programs.policy.reclaim
    given: list[Any] = []

    def reclaim(*args: Any, **kwargs: Any) -> Any:
        given.extend(context.lease for context in args[3])
        return asked(*args, **kwargs)

    with patch.object(loop.programs.policy, "reclaim", reclaim):
        loop.programs.room.for_turn(other.turn.turn, 10, backfill=False)
    held = loop.programs.state.idle.get(ended.turn.live.program)
    assert held is not None
    assert given == [held.context.lease]
    assert loop.programs.state.totals.leases == {"granted": 2}


@pytest.mark.parametrize("prefilling", [False, True])
def test_a_prefill_that_has_begun_gets_its_memory_whatever_the_policy_says(
    prefilling: bool,
) -> None:
    loop = SchedulerLoop("fixed-ttl:seconds=100", 300)
    turn(loop, "pinned", list(range(80)))
    for name in ("one", "other"):
        loop.ask(ProgramTag(name), [ord(name[0]) * 100 + n for n in range(60)], 40)
    loop.step()
    assert len(loop.running) == 2
    free = loop.free_tokens()

    with loop.programs.room.prefilling() if prefilling else nullcontext():
        loop.programs.room.for_batch(50)

    assert (loop.free_tokens() >= free + 50) == prefilling


def test_leases_of_a_key_hold_no_more_than_its_share() -> None:
    loop = SchedulerLoop("guard", 300, limits=Limits(lease_share=0.5, keys=2))
    turn(loop, "a", list(range(50)), owner="k1")
    turn(loop, "b", list(range(100, 150)), owner="k1")
    turn(loop, "c", list(range(200, 250)), owner="k2")

    held = {each.program.program_id: each.context.tokens for each in loop.programs.state.idle}
    assert held == {"k1/a": 53, "k1/b": 22, "k2/c": 53}
    assert loop.programs.state.totals.reclaims == {"budget": 1}


def test_after_a_flush_everything_was_lost() -> None:
    loop = SchedulerLoop("guard", 300)
    first = turn(loop, "a", list(range(40)))
    loop.flush()
    again = turn(loop, "a", [*first.tokens, 1])
    assert again.hit == 0
    assert loop.programs.state.totals.lost_tokens == 40


def test_work_that_is_done_twice_is_charged_as_such() -> None:
    loop = SchedulerLoop("guard", 300)
    first = turn(loop, "a", list(range(40)))
    loop.flush()
    turn(loop, "a", [*first.tokens, *range(500, 540)])
    account = loop.programs.state.totals.account
    assert account.recompute_s > 0
    assert account.prefill_s > account.recompute_s
    assert account.decode_s > 0


def test_the_accounts_add_up_to_the_time_that_the_engine_worked() -> None:
    loop = SchedulerLoop("guard", 300)
    began = loop.now
    turn(loop, "a", list(range(40)), 20)
    turn(loop, "b", list(range(100, 150)), 30)
    loop.step()
    account = loop.programs.state.totals.account
    worked = account.prefill_s + account.recompute_s + account.decode_s
    assert worked == pytest.approx(loop.now - began, rel=0.1)


def test_the_snapshot_shows_a_client_its_own_programs_only() -> None:
    loop = SchedulerLoop("guard", 300)
    turn(loop, "a", list(range(40)), owner="k1")
    turn(loop, "b", list(range(100, 120)), owner="k2")

    everything = loop.programs.snapshot(SnapshotRequest(), 16)
    mine = loop.programs.snapshot(SnapshotRequest(owner="k1"), 16)

    assert [row.program_id for row in everything.programs] == ["a", "b"]
    assert [(row.program_id, row.held_tokens) for row in mine.programs] == [("a", 43)]
    assert loop.programs.snapshot(SnapshotRequest(limit=0), 16).programs == []
    assert everything.leased_tokens == 66
    assert everything.states == {"paused": 2}
    assert everything.free_tokens == 300 - 66


def test_nothing_is_held_for_a_policy_that_leaves_it_to_the_engine() -> None:
    loop = SchedulerLoop("program-fcfs", 300)
    turn(loop, "a", list(range(40)))
    assert len(loop.programs.state.idle) == 0


def test_what_was_learned_goes_on_in_another_engine() -> None:
    loop = SchedulerLoop("guard", 300)
    prompt = list(range(20))
    for _ in range(8):
        request = turn(loop, "a", prompt)
        loop.step(3.0)
        prompt = [*request.tokens, 1]
    other = SchedulerLoop("guard", 300)

    other.programs.recall(loop.programs.learned())

    program = request.turn.live.program
    assert other.programs.policy.predict_pause(program, 0.5) == pytest.approx(
        loop.programs.policy.predict_pause(program, 0.5)
    )
    assert other.programs.state.costs == loop.programs.meter.costs.costs()
