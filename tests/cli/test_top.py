"""`agentrt top` and `agentrt learned`: what a live engine shows of its programs and knowledge."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cyclopts import App
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from rich.console import Console

from agentrt.cli import console, learned
from agentrt.cli.engine_api import EngineApi
from agentrt.cli.top import read_snapshot, show, top
from agentrt.cli.top_view import Interval, draw, duration, printable
from agentrt.errors import (
    AgentrtError,
    EngineUnreachable,
    ModelRequestFailed,
    PluginInactive,
    SettingError,
)
from agentrt_engine.wire.control import LEARNED_VERSION, Learned
from agentrt_engine.wire.programs import EngineSnapshot, ProgramAccount, ProgramRow, Totals
from tests.support.fake_servers import FakeServer
from tests.support.loopback_app import served, unused_url


def row(arrival: int, state: str, **changes: object) -> ProgramRow:
    given = {
        "program_id": f"program-{arrival:03d}",
        "key": "",
        "state": state,
        "arrival": arrival,
        "age_s": 100.0,
        "turns": 7,
        "state_s": 61.0,
        "context_tokens": 12_345,
        "held_tokens": 0,
    }
    return msgspec.convert({**given, **changes}, ProgramRow)


def totals(**changes: int) -> Totals:
    usual = Totals(
        programs_started=40,
        turns=1234,
        prompt_tokens=1000,
        hit_tokens=600,
        lost_tokens=33,
        pauses=10,
        pause_s=20.0,
        predicted_pause_s=15.0,
        pause_error_s=8.0,
        programs_ended={"final": 8, "idle": 2},
        reclaimed_tokens={"admission": 3000, "decode": 500},
        leases={"granted": 9, "expired": 4},
        hints={"applied": 30, "deferred": 4},
    )
    return msgspec.structs.replace(usual, **changes)


def snapshot(*rows: ProgramRow, uptime_s: float = 3723.0, **changes: int) -> EngineSnapshot:
    states: dict[str, int] = {}
    for each in rows:
        states[each.state] = states.get(each.state, 0) + 1
    return EngineSnapshot(
        policy="guard",
        uptime_s=uptime_s,
        kv_tokens=32_768,
        free_tokens=8000,
        leased_tokens=9000,
        running=states.get("running", 0),
        waiting=states.get("waiting", 0),
        max_running=16,
        price=1.3e-6,
        states=states,
        keys={},
        totals=totals(**changes),
        programs=list(rows),
    )


def drawn(view: object, width: int = console.MAX_WIDTH) -> list[str]:
    to = Console(width=width, record=True, file=io.StringIO(), force_terminal=True)
    to.print(view)
    return to.export_text().splitlines()


def run(*arguments: str) -> None:
    app = App(console=console.out)
    app.command(top)
    app.command(learned.app)
    app(arguments, exit_on_error=False, result_action="return_value")


def refused(kind: type[AgentrtError], *arguments: str) -> AgentrtError:
    with pytest.raises(kind) as caught:
        run(*arguments)
    return caught.value


# ----------------------------------------------------------------------- view


def test_the_view_says_how_the_engine_is() -> None:
    shown = "\n".join(drawn(draw("http://engine", snapshot(row(0, "running")))))
    for part in (
        "http://engine  policy guard  up 1h02m",
        "15.8k running 9k leased 8k free",
        "running 1/16  waiting 0  hit rate 60.0\u00a0% in all",
        "price 1.3 µs/token·s",
        "programs 40 started, 10 ended (final 8, idle 2); 1,234 turns",
        "reclaimed 3,500 tokens (admission 3,000, decode 500); 33 prefilled again",
        "hints 34 (applied 30, deferred 4); leases 9 (expired 4)",
        "pauses 10: mean 2.0s, predicted 1.5s, off by 0.8s",
    ):
        assert part in shown


def test_a_line_per_program() -> None:
    paused = row(
        3, "paused", tool="bash", predicted_s=2.25, held_tokens=9000, lease_s=33.0,
        account=ProgramAccount(1.0, 0.5, 2.0, lost_tokens=1500),
    )  # fmt: skip
    lines = drawn(draw("http://engine", snapshot(paused, row(1, "running"))))
    assert lines[-3].split() == [
        "program", "state", "for", "turns", "tool", "p50", "context", "held", "lease", "engine",
        "s", "lost",
    ]  # fmt: skip
    # Running ones first, whatever the order in which they came.
    assert lines[-2].split() == [
        "program-001",
        "running",
        "1m01s",
        "7",
        "–",
        "12.3k",
        "–",
        "–",
        "0",
        "–",
    ]
    assert lines[-1].split() == [
        "program-003", "paused", "1m01s", "7", "bash", "2.2s", "12.3k", "9k", "33s", "3.50", "1.5k",
    ]  # fmt: skip


def test_hit_rate_and_turns_of_the_last_interval() -> None:
    before = snapshot(uptime_s=100.0)
    now = snapshot(uptime_s=102.0, turns=1238, prompt_tokens=1100, hit_tokens=690)
    interval = Interval.between(before, now)
    assert interval is not None
    assert (interval.seconds, interval.turns) == (2.0, 4)
    assert interval.hit_rate == pytest.approx(0.9)
    shown = "\n".join(drawn(draw("http://engine", now, interval=interval)))
    assert "hit rate 90.0\u00a0% now, 62.7\u00a0% in all  2 turns/s" in shown


def test_an_engine_that_was_started_again_has_no_interval() -> None:
    assert Interval.between(snapshot(uptime_s=500.0), snapshot(uptime_s=3.0)) is None
    assert Interval.between(None, snapshot()) is None


def test_an_engine_without_programs() -> None:
    assert drawn(draw("http://engine", snapshot()))[-1] == "no programs"


names = st.text(max_size=300)


@limits(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.builds(
            row,
            st.integers(0, 10**6),
            st.sampled_from(["running", "preempted", "waiting", "paused", "odd"]),
            program_id=names,
            tool=st.none() | names,
            predicted_s=st.none() | st.floats(0, 1e7),
            lease_s=st.none() | st.floats(-5, 1e7),
            state_s=st.floats(0, 1e8),
            turns=st.integers(0, 10**5),
            context_tokens=st.integers(0, 10**7),
            held_tokens=st.integers(0, 10**7),
        ),
        max_size=60,
    ),
    height=st.integers(12, 60),
    problem=names,
)
def test_it_always_fits_the_terminal_and_obeys_no_client(
    rows: list[ProgramRow], height: int, problem: str
) -> None:
    now = snapshot(*rows, prompt_tokens=10**9, hit_tokens=10**9 - 1)
    to = Console(width=console.MAX_WIDTH, file=io.StringIO(), force_terminal=False)
    to.print(draw("http://engine", now, problem=problem, width=to.width, height=height))
    assert isinstance(to.file, io.StringIO)
    shown = to.file.getvalue()
    lines = shown.removesuffix("\n").split("\n")
    assert len(lines) <= height
    plain = shown.replace("\n", "").replace("\u00a0", "")
    assert printable(plain) == plain
    if len(rows) > height:
        assert lines[-1].startswith("and ")


@given(st.floats(0, 8.5e6))
def test_durations_are_short(seconds: float) -> None:
    assert len(duration(seconds)) <= 6
    assert duration(0.44) == "0.4s"
    assert (duration(59.4), duration(59.6), duration(3600 * 3 + 725)) == ("59s", "1m00s", "3h12m")


# -------------------------------------------------------------------- command


def test_once_prints_it_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    with served(FakeServer(snapshots=[snapshot(row(1, "waiting"))]).app()) as url:
        run("top", url, "--once")
        run("top", url)  # stdout is no terminal
    printed = capsys.readouterr().out
    assert printed.count("program-001") == 2
    assert "\x1b" not in printed


def test_json_is_the_snapshot(capsys: pytest.CaptureFixture[str]) -> None:
    now = snapshot(row(1, "waiting"))
    with served(FakeServer(snapshots=[now]).app()) as url:
        run("top", url, "--json", "-")
    assert msgspec.json.decode(capsys.readouterr().out, type=EngineSnapshot) == now


def looks(number: int) -> Callable[[], bool]:
    left = iter([True] * number)
    return lambda: next(left, False)


def test_the_live_view_survives_an_engine_that_goes_away() -> None:
    first, second = snapshot(row(1, "running")), snapshot(row(2, "running"), uptime_s=3724.0)
    to = Console(width=100, height=30, file=io.StringIO(), force_terminal=True)
    server = FakeServer(snapshots=[first, None, second])
    with served(server.app()) as url, EngineApi(url, None) as api:
        show(to, api, read_snapshot(api), looks(3))
    assert isinstance(to.file, io.StringIO)
    shown = to.file.getvalue()
    away = shown.index("the engine does not answer (HTTP 503); trying again")
    assert shown.index("program-001") < away < shown.index("program-002")
    assert shown.rindex("trying again") < shown.index("program-002")
    # The screen of before comes back.
    assert shown.rindex("\x1b[?1049h") < shown.rindex("\x1b[?1049l")


def test_ctrl_c_leaves_the_live_view() -> None:
    to = Console(width=100, height=30, file=io.StringIO(), force_terminal=True)

    def interrupted() -> bool:
        raise KeyboardInterrupt

    with served(FakeServer(snapshots=[snapshot()]).app()) as url, EngineApi(url, None) as api:
        show(to, api, read_snapshot(api), interrupted)


def test_an_engine_without_the_plug_in() -> None:
    with served(FakeServer().app()) as url:
        error = refused(PluginInactive, "top", url)
    assert f"{url} answers, but has no /agentrt/programs" in str(error)


def test_no_engine() -> None:
    url = unused_url()
    for command in (["top", url], ["learned", "export", url]):
        assert f"no engine answers at {url}" in str(refused(EngineUnreachable, *command))


def test_the_key() -> None:
    server = FakeServer(key="secret", snapshots=[snapshot()], learned=LEARNED)
    with served(server.app()) as url:
        for command in (["top", url], ["learned", "export", url]):
            error = refused(ModelRequestFailed, *command)
            assert "HTTP 401" in str(error)
            assert "--engine-key" in error.hint
            run(*command, "--key", "secret")


# -------------------------------------------------------------------- learned

LEARNED = msgspec.json.encode(Learned(LEARNED_VERSION, "guard", {"durations": [1, 2.5]}))


def test_what_was_learned_goes_from_one_engine_to_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with served(FakeServer(learned=LEARNED).app()) as url:
        run("learned", "export", url, "learned.json")
        run("learned", "export", url)
    assert json.loads(capsys.readouterr().out) == json.loads(LEARNED)
    other = FakeServer()
    with served(other.app()) as url:
        run("learned", "import", url, "learned.json")
    assert other.learned is not None
    assert json.loads(other.learned) == json.loads(LEARNED)


def test_files_that_cannot_be_imported(tmp_path: Path) -> None:
    url = unused_url()
    assert "cannot read missing.json" in str(
        refused(SettingError, "learned", "import", url, "missing.json")
    )
    for content, message in (
        (b'{"policy": 1}', "holds no learned statistics"),
        (msgspec.json.encode(Learned(99, "guard", {})), "version 99, expected 1"),
    ):
        file = tmp_path / "learned.json"
        file.write_bytes(content)
        assert message in str(refused(SettingError, "learned", "import", url, str(file)))
