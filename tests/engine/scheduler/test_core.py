"""The scheduler's half of the plug-in in a model of SGLang's scheduler, under every policy."""

from __future__ import annotations

import random
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentrt_engine.policy import live_policy_names
from agentrt_engine.sglang.scheduler import room
from agentrt_engine.sglang.scheduler.core import PREPARE_DUE, PREPARE_EVERY
from agentrt_engine.sglang.scheduler.programs import End
from agentrt_engine.sglang.scheduler.rounds import PATIENCE_S
from agentrt_engine.sglang.scheduler.state import Limits
from agentrt_engine.wire.control import OwnedHint
from agentrt_engine.wire.hints import Hint, HintKind
from agentrt_engine.wire.identity import ProgramTag
from tests.support.scheduler_loop import Request, SchedulerLoop

POLICIES = sorted(live_policy_names())
CAPACITY = 300


class Chaos:
    """Random programs, aborts, hints, flushes and jumps of the clock, from one seed."""

    def __init__(self, policy: str, seed: int, page: int) -> None:
        self.random = random.Random(seed)
        self.loop = SchedulerLoop(policy, CAPACITY, page=page, limits=Limits(idle_s=50.0, keys=2))
        self.contexts: dict[tuple[str, str], list[int]] = {}
        self.open: list[Request] = []

    def run(self, steps: int) -> SchedulerLoop:
        for _ in range(steps):
            self.random.choice([self.ask, self.ask, self.step, self.step, self.step, self.odd])()
            self._collect()
        return self.settle()

    def ask(self) -> None:
        draw = self.random
        owner, name = draw.choice(["", "k1"]), draw.choice("abcdefgh")
        tag = ProgramTag(
            draw.choice([name, name, name, ""]),
            owner=owner,
            final=draw.random() < 0.1,
            fallback=draw.random() < 0.1,
            parent_id=draw.choice([None, None, *"abcdefgh"]),
            max_turns=draw.choice([None, 3]),
            priority=draw.choice([None, None, -1.0, 5.0]),
        )
        context = self.contexts.get((owner, name), list(range(12)))
        if draw.random() < 0.1:
            context = context[: draw.randrange(len(context))]
        fresh = [draw.randrange(9) for _ in range(draw.randint(1, 25))]
        prompt = [*context, *fresh][-100:]
        self.contexts[owner, name] = prompt
        self.open.append(self.loop.ask(tag, prompt, draw.randint(1, 30)))

    def step(self) -> None:
        for _ in range(self.random.randint(1, 8)):
            self.loop.step()

    def odd(self) -> None:
        draw, loop = self.random, self.loop
        what = draw.randrange(6)
        if what == 0 and self.open:
            loop.abort(draw.choice(self.open))
        elif what == 1 and not self.open:
            loop.flush()
        elif what == 2:
            loop.step(draw.choice([0.0, -5.0, 3600.0, 60.0]))
        elif what == 3:
            name = draw.choice("abcdefgh")
            for live in [each for each in loop.programs.state.table if each.program_id == name]:
                loop.programs.lifecycle.end(live, End.HINT)
        else:
            loop.programs.hints.apply(OwnedHint(draw.choice(["", "k1"]), self._hint()))
            loop.check()

    def _hint(self) -> Hint:
        draw = self.random
        return Hint(
            draw.choice("abcdefgh"),
            draw.choice(list(HintKind)),
            tool=draw.choice([None, "bash"]),
            expected_s=draw.choice([None, {"0.5": 1.0}, {"0.1": 5.0, "0.9": 2.0}, {"0.9": 1e8}]),
            progress=draw.choice([None, 5e-324, 0.01, 1.0]),
            remaining_turns=draw.choice([None, 0, 4]),
            remaining_s=draw.choice([None, 2.0]),
            priority=draw.choice([None, 100.0, -3.0]),
            ttl_s=draw.choice([None, 0.0, 1e9]),
        )

    def _collect(self) -> None:
        under_way = [*self.loop.queue, *self.loop.running]
        self.open = [request for request in self.open if request in under_way]

    def settle(self) -> SchedulerLoop:
        """Let everything that is under way end, then let everybody fall silent."""
        for _ in range(3000):
            self.loop.step(0.05)
            if not self.loop.queue and not self.loop.running:
                break
        assert not self.loop.queue, "a turn that never starts"
        for _ in range(10):  # children first, then their parents
            self.loop.step(100.0)
        return self.loop


@pytest.mark.parametrize("policy", POLICIES)
@given(
    seed=st.integers(0, 2**32 - 1), page=st.sampled_from([1, 4]), offered=st.sampled_from([24, 1])
)
@example(seed=11367846, page=1, offered=24)  # a turn ended while another of its program waited
@example(seed=425188, page=1, offered=24)  # a turn that waits found all that was not in use
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_nothing_is_stuck_and_nothing_leaks(
    policy: str, seed: int, page: int, offered: int
) -> None:
    with patch.object(room, "OFFERED", offered):  # as with many more idle programs
        loop = Chaos(policy, seed, page).run(60)

    state = loop.programs.state
    assert len(state.table) == 0
    assert len(state.idle) == 0
    assert loop.tree.locked == 0
    assert state.totals.programs_started == sum(state.totals.programs_ended.values())


@pytest.mark.parametrize("policy", POLICIES)
def test_two_ranks_that_are_told_the_same_decide_the_same(policy: str) -> None:
    one, other = (Chaos(policy, 7, 1).run(150) for _ in range(2))

    assert one.log == other.log
    assert one.programs.state.totals == other.programs.state.totals


@pytest.fixture(params=POLICIES)
def loop(request: pytest.FixtureRequest) -> Iterator[SchedulerLoop]:
    yield SchedulerLoop(request.param, CAPACITY)


def test_a_mistake_in_the_books_stops_nobody() -> None:
    """A turn that left the engine without a word would else count as running for ever."""
    loop = SchedulerLoop("static-cap:programs=1", 1_000)
    lost = loop.ask(ProgramTag("lost"), list(range(50)), 500)
    loop.step()
    assert loop.running == [lost]
    loop.running.clear()
    loop._unlock(lost)
    loop.ask(ProgramTag("other"), list(range(100, 150)), 5)
    loop.check = lambda: None  # type: ignore[method-assign]  # the books are wrong
    for _ in range(int(PATIENCE_S / 0.05) - 5):
        loop.step(0.05)
    assert loop.queue
    for _ in range(30):
        loop.step(0.05)
    assert not loop.queue and not loop.running


def test_a_client_that_never_comes_back_stops_nobody(loop: SchedulerLoop) -> None:
    for name in "abcdefgh":
        loop.ask(ProgramTag(name), [*range(30), ord(name)], 5)
    for _ in range(800):
        loop.step(0.05)
    assert not loop.queue

    loop.ask(ProgramTag("late"), list(range(1000, 1250)), 20)
    for _ in range(800):
        loop.step(0.05)

    assert not loop.queue and not loop.running


def test_paused_programs_are_looked_at_as_room_is_made_for_a_turn_or_else_after_some_steps() -> (
    None
):
    programs = SchedulerLoop("guard", CAPACITY).programs
    with patch.object(programs.policy, "prepare") as prepare:

        def looks(steps: int, *, turnover: bool = False) -> int:
            """How often they are looked at in so many steps, the first one behind a turnover."""
            prepare.reset_mock()
            programs.state.turnover = turnover
            for _ in range(steps):
                programs.tick(programs.state.now + 0.01)
            return prepare.call_count

        assert (looks(PREPARE_DUE - 1), looks(1)) == (0, 1), "nothing else makes room"
        assert looks(2, turnover=True) == 0, "too soon"
        assert looks(PREPARE_EVERY - 3) == 0
        assert looks(1, turnover=True) == 0, "no time"
        assert (looks(1), looks(PREPARE_DUE - 1), looks(1)) == (1, 0, 1)
