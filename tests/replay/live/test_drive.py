"""One run against an engine, in virtual time: all figures are exact."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from agentrt.replay.live import LiveEngine, LiveRun, RunSettings, open_engine, replay_live
from agentrt.replay.live.run import HintMode
from agentrt.replay.program_list import ProgramList
from agentrt.testing import in_virtual_time
from agentrt_engine.outcome import Activity
from agentrt_engine.simulated.clock import ticks
from agentrt_engine.simulated.shared_prefixes import Segment
from agentrt_engine.simulated.workload import ProgramPlan
from tests.replay.live.plans import arriving, growing
from tests.support.live_server import Asked, Kind, LiveServer
from tests.support.scripted_engine import INFO

#: Of a turn of `growing`: the prompt, then three tokens after the first.
PREFILL_S, TOKEN_S = 0.5, 0.1
TURN_S = PREFILL_S + 3 * TOKEN_S


def server(kind: Kind = Kind.SGLANG) -> LiveServer:
    return LiveServer(kind, prefill_s=PREFILL_S, token_s=TOKEN_S)


def on(engine: LiveServer, body: Callable[[LiveEngine], Awaitable[LiveRun]]) -> LiveRun:
    async def run() -> LiveRun:
        async with open_engine(
            engine.address("tested"), transport=engine.transport(), timeout_s=60.0
        ) as live:
            return await body(live)

    return in_virtual_time(run)


def replayed(
    engine: LiveServer,
    plans: Sequence[ProgramPlan],
    programs: ProgramList,
    settings: RunSettings | None = None,
) -> LiveRun:
    return on(engine, lambda live: replay_live(plans, live, programs, settings or RunSettings()))


# ----------------------------------------------------------------------- time


def test_programs_arrive_on_time_and_pauses_count_from_the_end_of_turns() -> None:
    engine = server()
    run = replayed(engine, [growing("a"), growing("b")], arriving(0.0, 0.3))
    a, b = run.outcome.programs
    assert (a.arrival_s, b.arrival_s) == (0.0, 0.3)
    assert a.end_s == pytest.approx(3 * TURN_S + 2 * 1.0)
    assert b.jct_s == pytest.approx(a.jct_s)
    assert a.ttft_s == pytest.approx([PREFILL_S] * 3)
    asked = [asked.at_s for asked in engine.of("b")]
    assert [at - asked[0] for at in asked] == pytest.approx([0, TURN_S + 1, 2 * TURN_S + 2])
    assert run.outcome.makespan_s == pytest.approx(b.end_s)
    assert run.largest_lag_s == pytest.approx(0.0, abs=1e-9)


def test_with_a_concurrency_the_next_program_arrives_when_one_ends() -> None:
    plans = [growing("long", turns=3), growing("short", turns=1), growing("next", turns=1)]
    run = replayed(server(), plans, ProgramList(1, (0, 1, 2)), RunSettings(concurrency=2))
    arrivals = {p.program_id: p.arrival_s for p in run.outcome.programs}
    assert arrivals == pytest.approx({"long": 0.0, "short": 0.0, "next": TURN_S})
    assert run.outcome.backlog == []


def test_arrivals_have_a_backlog() -> None:
    run = replayed(server(), [growing("a"), growing("b")], arriving(0.0, 1.0))
    assert len(run.outcome.backlog) == 100
    assert run.outcome.backlog[0] == pytest.approx((0.01, 1))
    assert run.outcome.backlog[-1] == pytest.approx((1.0, 2))


def test_a_slow_engine_delays_no_arrival() -> None:
    engine = LiveServer(prefill_s=100.0)
    engine_plans = [growing("a", turns=1), growing("b", turns=1)]

    async def run(live: LiveEngine) -> LiveRun:
        return await replay_live(engine_plans, live, arriving(0.0, 2.0))

    async def patient() -> LiveRun:
        async with open_engine(engine.address(), transport=engine.transport()) as live:
            return await run(live)

    in_virtual_time(patient)
    first, second = (asked.at_s for asked in engine.asked)
    assert second - first == pytest.approx(2.0)


# -------------------------------------------------------------------- prompts


@pytest.mark.parametrize("kind", [Kind.SGLANG, Kind.VLLM])
def test_every_reusable_token_is_hit_where_nothing_is_evicted(kind: Kind) -> None:
    system = Segment(0, 30)
    plans = [growing("a", shares=[system]), growing("b", shares=[system])]
    engine = server(kind)
    run = replayed(engine, plans, arriving(0.0, 0.6))
    a, b = run.outcome.programs
    # The last token of an output is not computed, but this engine caches it.
    assert a.hit_tokens == a.reusable_tokens == 44 + 58
    assert b.hit_tokens == b.reusable_tokens == 30 + 44 + 58
    assert (a.new_tokens, b.new_tokens) == (40 + 2 * 10, 10 + 2 * 10)
    assert [asked.cached_tokens for asked in engine.of("b")] == [30, 44, 58]
    assert run.excess_tokens == 0
    assert run.cached_known


def test_incremental_events_say_the_same() -> None:
    plain, incremental = server(), server()
    incremental.incremental = True
    runs = [replayed(engine, [growing("a")], arriving(0.0)) for engine in (plain, incremental)]
    assert runs[0].outputs == runs[1].outputs
    assert [len(output.output_ids or ()) for output in runs[0].outputs] == [4, 4, 4]


def test_the_next_prompt_has_what_was_generated() -> None:
    engine = server()
    run = replayed(engine, [growing("a")], arriving(0.0))
    first, second, _ = engine.of("a")
    assert second.prompt[:44] == first.prompt + tuple(run.outputs[0].output_ids or ())


def test_without_ids_the_next_prompt_has_others_in_their_place() -> None:
    engine = server(Kind.PLAIN)
    run = replayed(engine, [growing("a")], arriving(0.0))
    first, second, _ = engine.of("a")
    assert second.prompt[:40] == first.prompt
    assert len(second.prompt) == 54
    # They are not what it generated, so it can only have hit the prompt.
    assert second.cached_tokens == 40
    assert not run.cached_known
    assert run.outcome.programs[0].hit_tokens == 0
    assert run.outputs[0].output_ids is None


def test_shorter_outputs_than_asked_for_are_counted_and_the_prompts_keep_their_length() -> None:
    engine = server(Kind.PLAIN)
    engine.shortest = 2
    run = replayed(engine, [growing("a")], arriving(0.0))
    assert run.short_turns == 3
    assert run.outcome.programs[0].output_tokens == 6
    assert [len(asked.prompt) for asked in engine.asked] == [40, 54, 68]


def test_seeds_and_repeats_have_tokens_of_their_own() -> None:
    engine = server()
    for seed, repeat in ((1, 1), (1, 2), (2, 1)):
        replayed(engine, [growing("a")], arriving(0.0, seed=seed), RunSettings(repeat=repeat))
    firsts = [asked for asked in engine.asked if len(asked.prompt) == 40]
    assert [asked.cached_tokens for asked in firsts] == [0, 0, 0]
    again = replayed(engine, [growing("a")], arriving(0.0))
    assert engine.asked[-3].cached_tokens == 39
    assert again.excess_tokens == sum(a.cached_tokens for a in engine.asked[-3:]) - (44 + 58)
    assert again.outcome.programs[0].hit_tokens == again.outcome.programs[0].reusable_tokens


# ------------------------------------------------------------------- identity


def test_requests_say_which_program_they_are_of_and_which_is_its_last() -> None:
    engine = server()
    child = growing("child", turns=2)
    child.is_child = True
    parent = growing("parent", turns=2)
    parent.turns[0].waits_for = (child,)
    run = replayed(engine, [parent], arriving(0.0))
    assert [asked.final for asked in engine.of("parent")] == [False, True]
    assert [asked.final for asked in engine.of("child")] == [False, True]
    (name,) = {asked.program for asked in engine.of("parent")}
    assert {asked.parent for asked in engine.of("child")} == {name}
    for asked in engine.asked:
        assert asked.body["session_id"] == asked.program
        tag = asked.body["sampling_params"]["custom_params"]["agentrt"]
        assert tag["program_id"] == asked.program
        assert tag.get("final", False) == asked.final
    assert [p.parent_id for p in run.outcome.programs] == [None, "parent"]


def test_copies_and_runs_are_programs_of_their_own() -> None:
    engine = server()
    for _ in range(2):
        run = replayed(engine, [growing("a", turns=1)], ProgramList(1, (0, 0), (0.0, 0.0)))
        assert [p.program_id for p in run.outcome.programs] == ["a", "a~2"]
    assert len({asked.program for asked in engine.asked}) == 4


def test_an_id_that_no_header_can_carry_is_written_so_that_it_can() -> None:
    engine = server()
    run = replayed(engine, [growing("prüfer\n" + "x" * 300, turns=1)], arriving(0.0))
    (asked,) = engine.asked
    assert asked.program.startswith("pr%C3%BCfer%0A")
    assert len(asked.program) <= 256
    assert run.outcome.programs[0].program_id.startswith("prüfer\n")


def test_children_run_during_the_pause_and_the_parent_waits_for_them() -> None:
    child = growing("child", turns=3)
    child.is_child = True
    parent = growing("parent", turns=2, pause_s=0.2)
    parent.turns[0].waits_for = (child,)
    run = replayed(server(), [parent], arriving(0.0), RunSettings(record=True))
    above, below = run.outcome.programs
    assert below.arrival_s == pytest.approx(TURN_S)
    assert below.jct_s == pytest.approx(3 * TURN_S + 2)
    assert above.end_s == pytest.approx((below.end_s or 0) + TURN_S)


# ---------------------------------------------------------------------- hints


def hinted(mode: HintMode | None, *, plug_in: bool = True) -> list[tuple[str, str | None, float]]:
    engine = server()
    engine.info = INFO if plug_in else None
    replayed(engine, [growing("a", turns=2)], arriving(0.0), RunSettings(hints=mode))
    start = engine.asked[0].at_s
    return [(hint["kind"], hint.get("tool"), round(at - start, 6)) for at, hint in engine.hints]


def test_tools_are_hinted_when_they_start_and_finish() -> None:
    assert hinted(None) == [
        ("tool_started", "bash", TURN_S),
        ("tool_finished", "bash", TURN_S + 1),
    ]  # its last request says that the program ends


def test_nothing_is_hinted_if_that_is_wanted() -> None:
    assert hinted(HintMode.NONE) == []


def test_other_engines_get_no_hints() -> None:
    assert hinted(None, plug_in=False) == []


def test_hints_that_nobody_takes_are_counted() -> None:
    engine = server()
    run = replayed(
        engine, [growing("a", turns=2)], arriving(0.0), RunSettings(hints=HintMode.TOOLS)
    )
    assert (run.hints, run.refused_hints) == (2, 2)
    assert run.failures == []


# ------------------------------------------------------------------- failures


def second_turn_of_a(asked: Asked) -> int | None:
    return 500 if asked.program.startswith("a.") and len(asked.prompt) > 40 else None


def test_a_refused_request_fails_its_program_and_no_other() -> None:
    engine = server()
    engine.info = INFO
    engine.fails = second_turn_of_a
    run = replayed(engine, [growing("a"), growing("b")], arriving(0.0, 0.0))
    (failure,) = run.failures
    assert (failure.program, failure.turn) == ("a", 1)
    assert "HTTP 500" in failure.reason
    ends = {p.program_id: p.end_s for p in run.outcome.programs}
    assert ends["a"] is None
    assert ends["b"] is not None
    assert len(engine.of("a")) == 2
    # It is over for the engine, too.
    assert [hint["kind"] for _, hint in engine.hints if hint["program_id"].startswith("a.")] == [
        "tool_started",
        "tool_finished",
        "ended",
    ]


def test_a_request_that_takes_too_long_fails() -> None:
    engine = LiveServer(prefill_s=0.1, token_s=1000.0)
    run = replayed(engine, [growing("a")], arriving(0.0))
    (failure,) = run.failures
    assert failure.reason == "no whole answer within 60 s"


def test_a_program_whose_child_failed_has_failed() -> None:
    engine = server()
    engine.fails = lambda asked: 503 if asked.program.startswith("child.") else None
    child = growing("child")
    child.is_child = True
    parent = growing("parent")
    parent.turns[0].waits_for = (child,)
    run = replayed(engine, [parent], arriving(0.0))
    assert [failure.program for failure in run.failures] == ["child", "parent"]


# ------------------------------------------------------------------- timeline


def test_the_timeline_is_what_the_client_saw() -> None:
    run = replayed(server(), [growing("a", turns=2)], arriving(0.0), RunSettings(record=True))
    assert run.outcome.timeline is not None
    found = [
        (segment.activity, segment.turn, segment.start_s, segment.end_s)
        for segment in run.outcome.timeline.segments
    ]
    ends = [0.0, 0.5, 0.8, 1.8, 2.3, 2.6]
    kinds = [(Activity.PREFILL, 0), (Activity.DECODE, 0), (Activity.TOOL, 0)]
    kinds += [(Activity.PREFILL, 1), (Activity.DECODE, 1)]
    assert [(kind, turn) for kind, turn, _, _ in found] == kinds
    assert [end for *_, end in found] == pytest.approx(ends[1:])
    assert [start for *_, start, _ in found] == pytest.approx(ends[:-1])


def test_the_wait_in_the_queue_is_told_apart_where_the_engine_says_it() -> None:
    engine = server()
    engine.queue_s = 0.2
    run = replayed(engine, [growing("a", turns=1)], arriving(0.0), RunSettings(record=True))
    assert run.outcome.timeline is not None
    queued = run.outcome.timeline.segments[0]
    assert queued.activity is Activity.QUEUED
    assert queued.end_s == pytest.approx(0.2)


def test_a_long_pause_takes_no_time_here() -> None:
    # What makes these tests exact and quick: nobody sleeps in real time.
    plan = growing("a", turns=2)
    plan.turns[0].pause = ticks(86_400)
    run = replayed(server(), [plan], arriving(0.0))
    assert run.outcome.programs[0].jct_s == pytest.approx(86_400 + 2 * TURN_S)
