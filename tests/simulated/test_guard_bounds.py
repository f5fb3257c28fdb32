"""What `guard` promises: a bound on the wait of the oldest program, and on what anybody loses."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest
from hypothesis import Phase, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from agentrt_engine.outcome import Activity, ProgramOutcome, RunOutcome
from agentrt_engine.outcome import Segment as Stretch
from agentrt_engine.policy import Context, EngineView, Turn, Victim
from agentrt_engine.policy import Phase as ProgramPhase
from agentrt_engine.policy.guard import Guard
from agentrt_engine.policy.memory_price import IDLE_S
from agentrt_engine.simulated.arrivals import Arrivals, OpenLoop
from agentrt_engine.simulated.profile import load_profile
from agentrt_engine.simulated.run import simulate
from agentrt_engine.simulated.settings import EngineSettings
from agentrt_engine.simulated.workload import plan_workload
from agentrt_engine.wire.trace import PauseKind, ProgramRecord, TurnRecord
from tests.support.simulated import loop, settings
from tests.support.workloads import Shape, workload

#: A smaller seed is not a simpler workload, so there is nothing to shrink.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def turn(tokens: int, output: int, *, new: int, pause_s: float | None = None) -> TurnRecord:
    kind = PauseKind.FINAL if pause_s is None else PauseKind.TOOL
    return TurnRecord(tokens, new, output, pause_s, kind)


def recorded(arrivals: Arrivals, guard: Guard, engine: EngineSettings) -> RunOutcome:
    return simulate(arrivals, guard, engine, record=True)


def stretches(outcome: RunOutcome) -> list[Stretch]:
    assert outcome.timeline is not None
    return outcome.timeline.segments


def waits_of_the_oldest(outcome: RunOutcome) -> list[tuple[float, float]]:
    """From when to when the oldest live program's turns waited to be started."""
    waits = []
    for stretch in stretches(outcome):
        if stretch.activity is not Activity.QUEUED:
            continue
        seniors = outcome.programs[: stretch.program]
        since = max([stretch.start_s, *(senior.end_s or 0.0 for senior in seniors)])
        started = [
            other
            for other in stretches(outcome)
            if (other.program, other.turn) == (stretch.program, stretch.turn)
            and other.activity is Activity.PREFILL
            and other.end_s <= stretch.start_s
        ]
        if since < stretch.end_s and not started:
            waits.append((since, stretch.end_s))
    return waits


def turns_in_service(outcome: RunOutcome) -> list[tuple[float, float]]:
    """From when each turn was started to when it ended, what it lost by preemption included."""
    spans: dict[tuple[int, int], tuple[float, float]] = {}
    for stretch in stretches(outcome):
        if stretch.activity in (Activity.PREFILL, Activity.DECODE):
            key = (stretch.program, stretch.turn)
            first, last = spans.get(key, (stretch.start_s, stretch.end_s))
            spans[key] = (min(first, stretch.start_s), max(last, stretch.end_s))
    return list(spans.values())


def longest_during(outcome: RunOutcome, begin: float, end: float) -> float:
    """The longest turn that was in service at some time from `begin` to `end`."""
    return max(
        (last - first for first, last in turns_in_service(outcome) if first < end and last > begin),
        default=0.0,
    )


@pytest.mark.parametrize("price", [0.0, 1.0])
@limits(max_examples=30, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["open", "closed"]), long=st.booleans())
def test_the_oldest_waits_no_longer_than_the_longest_running_turn(
    price: float, seed: int, kind: str, long: bool
) -> None:
    shape = Shape(programs=14, shares=seed % 2 == 0, children=seed % 3 == 0)
    engine = settings(1000 + seed % 7 * 100, max_running=(3, 64)[seed % 2])
    if long:
        shape = Shape(programs=14, largest=2800, longest_output=1500, children=False)
        engine = settings(3000 + seed % 7 * 300, max_running=64)
    plans = plan_workload(workload(seed, shape), page=engine.page)
    outcome = recorded(loop(plans, kind), Guard(price=price), engine)
    for begin, end in waits_of_the_oldest(outcome):
        assert end - begin <= longest_during(outcome, begin, end) + 1e-9


def flooded(juniors: int) -> RunOutcome:
    """The oldest returns with 60,000 tokens to an engine full of outputs nobody expected."""
    records = [
        ProgramRecord(
            "oldest", "", (turn(1000, 100, new=1000, pause_s=8.0), turn(60_000, 100, new=58_900))
        )
    ]
    records += [
        ProgramRecord(f"j{index}", "", (turn(2000, 8000, new=2000),)) for index in range(juniors)
    ]
    engine = EngineSettings(load_profile("llama-3.1-8b-h200").costs(), kv_tokens=100_000)
    at = [0.0, *(0.1 + index / 10 for index in range(juniors))]
    return recorded(OpenLoop(plan_workload(records, page=16), at), Guard(), engine)


def test_the_bound_is_on_turns_with_their_preemptions_not_on_what_they_run_at_a_stretch() -> None:
    """A turn that is taken out and started again counts as one that runs all the time.

    So the oldest can wait longer than any turn ran at a stretch, where outputs are much longer
    than those before, which is what the gate expects.
    """
    outcome = flooded(60)
    begin, end = max(waits_of_the_oldest(outcome), key=lambda wait: wait[1] - wait[0])
    at_a_stretch = max(
        stretch.end_s - stretch.start_s
        for stretch in stretches(outcome)
        if stretch.activity is Activity.DECODE and stretch.start_s < end and stretch.end_s > begin
    )
    assert at_a_stretch < end - begin <= longest_during(outcome, begin, end)


def test_the_wait_of_the_oldest_does_not_grow_with_the_juniors_behind_it() -> None:
    assert flooded(60).programs[0].jct_s == flooded(120).programs[0].jct_s


class WitnessedGuard(Guard):
    """Notes each loss of a program to one behind it, and whether that could be expected."""

    def __init__(self, price: float) -> None:
        super().__init__(price=price)
        self.excused = 0
        self.unexcused: list[tuple[Turn, Context]] = []
        self._quiet_since: float | None = 0.0

    def stepped(
        self, now: float, seconds: float, running: float, kv_tokens: float, fixed: float
    ) -> None:
        super().stepped(now, seconds, running, kv_tokens, fixed)
        self._quiet_since = now

    def reclaim(
        self,
        now: float,
        turn: Turn,
        need: int,
        idle: Collection[Context],
        engine: EngineView,
        *,
        backfill: bool,
    ) -> list[Victim] | None:
        victims = super().reclaim(now, turn, need, idle, engine, backfill=backfill)
        for victim in victims or []:
            users = [victim.context.program] if victim.context.program else victim.context.users
            owners = [self.key(user) for user in users if user.phase is not ProgramPhase.ENDED]
            if not owners or min(owners) > self.key(turn.program):
                continue
            grows = turn.program.phase is ProgramPhase.RUNNING
            quiet = not engine.running and now - (self._quiet_since or 0.0) > IDLE_S
            if grows or quiet:
                self.excused += 1
            else:
                self.unexcused.append((turn, victim.context))
        return victims


@limits(max_examples=40, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["open", "closed"]))
def test_at_no_price_a_program_loses_to_juniors_only_what_a_batch_grows_or_idleness_takes(
    seed: int, kind: str
) -> None:
    """KV goes to seniors' turns, but for two cases that are meant.

    A turn that decodes takes idle KV of whomever before it is preempted; and with nothing running
    for 2 s whoever waits gets what there is.
    """
    engine = settings(1000 + seed % 7 * 100)
    guard = WitnessedGuard(price=0.0)
    shape = Shape(children=seed % 3 == 0)
    plans = plan_workload(workload(seed, shape), page=engine.page)
    recorded(loop(plans, kind), guard, engine)
    assert guard.unexcused == []


def lost_to_juniors(outcomes: Sequence[ProgramOutcome]) -> int:
    order = {outcome.program_id: at for at, outcome in enumerate(outcomes)}
    return sum(
        tokens
        for at, outcome in enumerate(outcomes)
        for junior, tokens in outcome.account.lost_to.items()
        if order[junior] > at
    )


@limits(max_examples=40, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["open", "closed"]))
def test_a_program_recomputes_at_most_what_it_lost_and_its_own_preemptions(
    seed: int, kind: str
) -> None:
    engine = settings(1000 + seed % 7 * 100)
    plans = plan_workload(workload(seed, Shape(shares=False)), page=engine.page)
    outcome = recorded(loop(plans, kind), Guard(price=0.0), engine)
    for program in outcome.programs:
        if program.preemptions:
            continue
        recomputed = program.reusable_tokens - program.hit_tokens
        # Of each turn less than a page is recomputed because hits are whole pages.
        assert recomputed <= program.lost_tokens + program.turns * engine.page


def test_a_turn_that_grows_takes_the_kv_of_a_senior_even_at_no_price() -> None:
    """The counter-example to "KV is only ever lost to seniors": one pause, one long output."""
    senior = ProgramRecord(
        "senior", "", (turn(400, 1, new=400, pause_s=30.0), turn(420, 1, new=19))
    )
    junior = ProgramRecord("junior", "", (turn(480, 400, new=480),))
    plans = plan_workload([senior, junior], page=16)
    outcome = recorded(OpenLoop(plans, [0.0, 0.2]), Guard(price=0.0), settings(1008))
    first, second = outcome.programs
    assert set(first.account.lost_to) == {"junior"}
    # As much as the output grew beyond what was free, in whole pages.
    assert first.lost_tokens == 400 + 880 - 1008
    assert second.lost_tokens == 0
    assert lost_to_juniors(outcome.programs) == first.lost_tokens
