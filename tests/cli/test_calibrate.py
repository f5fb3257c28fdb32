"""`agentrt calibrate`. What it measures and fits: tests/calibrate."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

from agentrt.calibrate.profile_file import make_profile, profile_text, write_profile
from agentrt.cli import console
from agentrt.cli.calibrate import calibrate
from agentrt.errors import (
    AgentrtError,
    CalibrationError,
    EngineUnreachable,
    ModelRequestFailed,
    SettingError,
)
from agentrt_engine.simulated.profile import load_profile
from tests.calibrate.virtual_target import COSTS
from tests.support.fake_servers import FakeServer
from tests.support.loopback_app import served, unused_url


def run(*arguments: str) -> None:
    app = App(console=console.out)
    app.command(calibrate)
    app(["calibrate", *arguments], exit_on_error=False, result_action="return_value")


def refused(kind: type[AgentrtError], *arguments: str) -> AgentrtError:
    with pytest.raises(kind) as caught:
        run(*arguments)
    return caught.value


def test_it_writes_a_profile_that_replay_and_plan_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = FakeServer()
    with served(server.app()) as url:
        run(url, "--quick", "--output", "mine.toml", "--json", "mine.json")
    profile = load_profile("mine.toml")
    assert profile.title == "small on cpu"
    assert profile.kv_bytes_per_token == pytest.approx(23_040, rel=1e-3)
    assert "small, sglang 0.5.23" in profile.source
    assert f"agentrt calibrate {url} --quick --seed 1" in profile.source
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= console.MAX_WIDTH
    for heading in ("MEASURED  small on cpu", "prefill: to the first token", "decode: between two"):
        assert heading in shown
    assert "wrote mine.toml" in shown
    document: dict[str, Any] = json.loads(Path("mine.json").read_text("utf-8"))
    assert document["format"] == "agentrt.calibration.v1"
    assert document["profile"]["base_ms"] == profile.base_ms
    assert {each["kind"] for each in document["measurements"]} >= {"prefill", "decode", "extend"}
    assert set(document["errors"]["decode"]) == {"median", "worst"}


def test_the_server_is_left_clean() -> None:
    server = FakeServer()
    with served(server.app()) as url:
        run(url, "--quick", "--output", "mine.toml")
    assert server.paths()[-2:] == ["/agentrt/hints", "/flush_cache"]
    hints = server.received[-2][1]
    assert {hint["kind"] for hint in hints} == {"ended"}
    assert len({hint["program_id"] for hint in hints}) == len(hints) > 1


def test_an_openai_server_is_asked_for_completions_of_token_ids(
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = FakeServer(native=False)
    with served(server.app()) as url:
        run(f"{url}/v1", "--quick", "--kv-bytes-per-token", "1000")
    assert set(server.paths()) == {"/v1/completions"}
    body = server.received[-1][1]
    assert (body["model"], body["stream"]) == ("small", True)
    printed = capsys.readouterr().out
    assert "kv_bytes_per_token = 1000.0" in printed
    assert max(map(len, printed.split("\ntitle = ")[0].splitlines())) <= console.MAX_WIDTH


def test_a_small_vocabulary_is_respected() -> None:
    server = FakeServer(vocabulary=2000)
    with served(server.app()) as url:
        run(url, "--quick", "--output", "mine.toml")
    sent = [body["input_ids"] for path, body in server.received if path == "/generate"]
    assert max(max(ids) for ids in sent[1:]) < 2000


def test_json_on_stdout_is_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with served(FakeServer().app()) as url:
        run(url, "--quick", "--json", "-")
    printed = capsys.readouterr()
    assert json.loads(printed.out)["server"]["kv_tokens"] == 1600
    assert "MEASURED" in printed.err


def test_nothing_answers() -> None:
    url = unused_url()
    assert f"no engine answers at {url}" in str(refused(EngineUnreachable, url))


def test_the_key_is_sent_and_a_wrong_one_is_refused() -> None:
    with served(FakeServer(key="secret").app()) as url:
        error = refused(ModelRequestFailed, url, "--engine-key", "wrong")
        assert "HTTP 401" in str(error)
        run(url, "--quick", "--engine-key", "secret", "--output", "mine.toml")
    assert Path("mine.toml").is_file()


def test_too_little_memory_is_said_before_anything_is_measured() -> None:
    server = FakeServer(kv_tokens=200)
    with served(server.app()) as url:
        error = refused(CalibrationError, url)
    assert "200 KV tokens" in str(error)
    assert server.paths().count("/generate") == 1


def test_a_model_it_does_not_serve() -> None:
    with served(FakeServer().app()) as url:
        assert "serves small" in str(refused(SettingError, url, "--model", "large"))


def test_a_server_that_does_not_say_how_large_its_kv_is() -> None:
    with served(FakeServer(native=False).app()) as url:
        error = refused(CalibrationError, url)
    assert "does not say how large its KV cache is" in str(error)
    assert error.hint.startswith("add --kv-bytes-per-token")


def test_a_server_that_takes_no_token_ids() -> None:
    with served(FakeServer(vocabulary=0).app()) as url:
        error = refused(CalibrationError, url)
    assert "takes no prompts of token ids" in str(error)
    assert "out of the vocabulary" in str(error)


@pytest.mark.parametrize("mixed_steps", [False, True])
def test_a_profile_is_read_back_as_it_was_written(tmp_path: Path, mixed_steps: bool) -> None:
    profile = make_profile(
        replace(COSTS, mixed_steps=mixed_steps),
        name="mine",
        title='a "small" model',
        source="here",
        kv_bytes_per_token=23_040,
    )
    assert write_profile(tmp_path / "mine.toml", profile) == profile
    costs = profile.costs()
    found = (costs.fixed_s, costs.decode_s, costs.sequence_s, costs.prefill_s, costs.position_s)
    assert found == pytest.approx(astuple(COSTS)[1:-1], rel=1e-3)
    assert "decode_us_per_sequence = 1700.0" in profile_text(profile)
