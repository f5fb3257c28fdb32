"""`agentrt serve`: what it says, who finds it, how it ends, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentrt.cli.main import run
from agentrt_engine.sglang.ports import free_port
from tests.support.processes import Command, Done, finished, left_after, living, wait_until
from tests.support.turn_order import order_of_turns

KEY = "s3cret-key"

#: Of the stacks of an idle engine: its scheduler, its HTTP server.
STACKS = ("idle_sleeper.py", "asyncio/runners.py")

#: Time for processes to be gone after the one that owns them, seconds.
GONE_S = 5.0

TALKER = """
from agentrt import Context, agent

@agent(max_tokens=8)
async def talker(ctx: Context, prompt: str = "Hi") -> str:
    \"\"\"You talk.\"\"\"
    return await ctx.loop(prompt)
"""

CONNECT = """
import anyio
from agentrt import connect

async def main() -> None:
    async with connect() as runtime:
        print(runtime.engine.url)

anyio.run(main)
"""


@dataclass
class Served:
    """What a served engine did, and how it ended."""

    ready: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    without_key: dict[str, int] = field(default_factory=dict)
    by_run: Done | None = None
    by_connect: Done | None = None
    by_doctor: Done | None = None
    log: str = ""
    command_lines: str = ""
    order: list[str] = field(default_factory=list)
    last_request: int = 0
    end: Done | None = None
    left: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def log(folder: Path) -> str:
    return "".join(path.read_text() for path in (folder / "cache/logs").iterdir())


def notes(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "cache/running").iterdir())


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Served:
    """With a key: found by everyone who holds it; stopped by Ctrl-C."""
    folder = tmp_path_factory.mktemp("keyed")
    clients = folder / "clients"
    clients.mkdir()
    (clients / "talker.py").write_text(TALKER)
    (clients / "client.py").write_text(CONNECT)
    served = Served()
    mine = {"AGENTRT_CACHE_DIR": str(folder / "cache"), "AGENTRT_API_KEY": KEY}
    arguments = ("serve", model_folder, "--port", "0", "--json", "-", "--kv-tokens", "4096")
    with Command(*arguments, folder=folder, AGENTRT_API_KEY=KEY) as command:
        command.until("Ctrl-C stops it")
        served.ready = json.loads(command.out)
        url = served.ready["url"]
        served.info = httpx2.get(
            f"{url}/agentrt/info", headers={"Authorization": f"Bearer {KEY}"}
        ).json()
        for method, path in (
            ("GET", "/v1/models"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/agentrt/info"),
        ):
            served.without_key[path] = httpx2.request(method, url + path).status_code
        served.by_run = finished("run", "talker.py", "--trace", "t.jsonl", folder=clients, **mine)
        served.by_connect = finished(sys.executable, "client.py", folder=clients, **mine)
        served.by_doctor = finished("doctor", model_folder, "--json", "-", folder=clients, **mine)
        [scheduler] = [pid for pid, name in living(folder).items() if "scheduler" in name]
        for pid in (scheduler, served.ready["pid"]):
            os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: all(line in log(folder) for line in STACKS))
        served.log = log(folder)
        served.command_lines = " ".join(living(folder).values())
        command.send(signal.SIGINT)
        served.end = command.done()
        served.left = living(folder)
        served.notes = notes(folder)
    return served


def test_json_is_all_there_is_on_stdout(keyed: Served) -> None:
    assert keyed.end is not None
    assert json.loads(keyed.end.out) == keyed.ready
    assert f"at {keyed.ready['url']}, policy guard, 4,096 KV tokens" in keyed.end.err


def test_its_progress_is_told(keyed: Served) -> None:
    assert keyed.end is not None
    stages = ["importing SGLang", "loading the model"]
    assert keyed.end.err.splitlines()[:2] == stages


def test_the_engine_says_what_it_is(keyed: Served, model_folder: Path) -> None:
    expected = {
        "sglang": "0.5.23",
        "model": model_folder.name,
        "device": "cpu",
        "policy": "guard",
        "kv_tokens": 4096,
        "max_running": 16,
    }
    assert {name: keyed.info[name] for name in expected} == expected
    assert keyed.info.items() <= keyed.ready.items()


def test_requests_without_the_key_are_refused(keyed: Served) -> None:
    assert set(keyed.without_key.values()) == {401}, keyed.without_key


def test_the_key_is_neither_in_the_log_nor_in_the_process_list(keyed: Served) -> None:
    assert "api_key" in keyed.log
    assert KEY not in keyed.log
    assert "agentrt_engine.sglang.launch" in keyed.command_lines
    assert KEY not in keyed.command_lines


def test_the_engine_shows_its_stacks_when_asked(keyed: Served) -> None:
    assert [line for line in STACKS if line not in keyed.log] == []


def test_run_finds_it(keyed: Served) -> None:
    assert keyed.by_run is not None
    assert keyed.by_run.code == 0, keyed.by_run.err
    assert "talker#1 finished: " in keyed.by_run.out
    assert "importing SGLang" not in keyed.by_run.err


def test_connect_finds_it(keyed: Served) -> None:
    assert keyed.by_connect == Done(0, keyed.ready["url"] + "\n", "")


def test_doctor_lists_it(keyed: Served) -> None:
    assert keyed.by_doctor is not None
    checks = json.loads(keyed.by_doctor.out)["checks"]
    [server] = [check["found"] for check in checks if check["part"] == "server"]
    assert server.startswith(f"{keyed.ready['url']} serves ")


def test_ctrl_c_ends_it_well(keyed: Served) -> None:
    assert keyed.end is not None
    assert keyed.end.code == 0, keyed.end.err
    assert keyed.left == {}
    assert keyed.notes == []


@pytest.fixture(scope="module")
def lru(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Served:
    """One request at a time, `lru`; stopped by SIGTERM during a request."""
    folder = tmp_path_factory.mktemp("lru")
    served = Served()
    arguments = ("serve", model_folder, "--port", "0", "--max-running", "1", "--policy", "lru")
    with Command(*arguments, folder=folder) as command, ThreadPoolExecutor() as pool:
        command.until("Ctrl-C stops it")
        url = command.out.split(" at ")[1].split(",")[0]
        served.info = httpx2.get(f"{url}/agentrt/info").json()
        served.order = order_of_turns(url)
        sampling = {"max_new_tokens": 60, "ignore_eos": True}
        request = pool.submit(
            httpx2.post,
            f"{url}/generate",
            json={"text": "Once", "sampling_params": sampling, "stream": False},
            timeout=60,
        )
        metrics = f"{url}/metrics"
        wait_until(lambda: is_busy(metrics))
        command.send(signal.SIGTERM)
        served.end = command.done()
        served.last_request = request.result().status_code
        served.left = living(folder)
    return served


def is_busy(metrics: str) -> bool:
    lines = httpx2.get(metrics).text.splitlines()
    running = [line for line in lines if line.startswith("sglang:num_running_reqs{")]
    return any(float(line.rsplit(" ", 1)[1]) > 0 for line in running)


def test_the_ready_line_without_json(lru: Served) -> None:
    assert lru.end is not None
    assert "on cpu at http://127.0.0.1:" in lru.end.out
    assert "policy lru, 32,768 KV tokens" in lru.end.out
    assert "\x1b" not in lru.end.out + lru.end.err


def test_the_policy_and_the_limit_are_in_force(lru: Served) -> None:
    assert (lru.info["policy"], lru.info["max_running"]) == ("lru", 1)


def test_lru_serves_turns_as_they_come(lru: Served) -> None:
    assert lru.order[0] == "busy"
    assert lru.order[-1] == "early"


def test_sigterm_lets_the_running_request_finish(lru: Served) -> None:
    assert lru.end is not None
    assert (lru.end.code, lru.last_request) == (0, 200), lru.end.err
    assert lru.left == {}


@pytest.fixture(scope="module")
def fcfs(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Served:
    """One request at a time, `guard`; ended by the death of its scheduler."""
    folder = tmp_path_factory.mktemp("fcfs")
    served = Served()
    arguments = ("serve", model_folder, "--port", "0", "--max-running", "1", "--json", "ready.json")
    with Command(*arguments, folder=folder) as command:
        command.until("Ctrl-C stops it")
        served.ready = json.loads((folder / "ready.json").read_text())
        served.order = order_of_turns(served.ready["url"])
        [scheduler] = [pid for pid, name in living(folder).items() if "scheduler" in name]
        os.kill(scheduler, signal.SIGKILL)
        served.end = command.done()
        served.left = living(folder)
        served.notes = notes(folder)
    return served


def test_program_fcfs_serves_an_early_program_first(fcfs: Served) -> None:
    assert fcfs.order[:2] == ["busy", "early"]


def test_an_engine_that_dies_is_an_error_with_its_last_words(fcfs: Served) -> None:
    assert fcfs.end is not None
    assert fcfs.end.code == 1
    assert "error: the engine ended by itself (signal 9):\n" in fcfs.end.err
    assert "crashed with exit code -9" in fcfs.end.err
    assert "hint: its whole log: " in fcfs.end.err
    assert "Traceback" not in fcfs.end.err
    assert fcfs.left == {}
    assert fcfs.notes == []


def test_kill_9_of_serve_takes_the_engine_along(tmp_path: Path, model_folder: Path) -> None:
    with Command("serve", model_folder, "--port", "0", folder=tmp_path) as command:
        command.until("Ctrl-C stops it")
        assert any("scheduler" in name for name in living(tmp_path).values())
        command.send(signal.SIGKILL)
        assert command.done().code == -signal.SIGKILL
        assert left_after(GONE_S, tmp_path) == {}
    # Its note is of a dead process: nobody is sent there.
    doctor = finished("doctor", model_folder, "--json", "-", folder=tmp_path)
    assert "server" not in {check["part"] for check in json.loads(doctor.out)["checks"]}


def test_a_port_that_is_taken_during_the_start(tmp_path: Path, model_folder: Path) -> None:
    port = free_port()
    with (
        Command("serve", model_folder, "--port", str(port), folder=tmp_path) as command,
        socket.socket() as other,
    ):
        command.until("importing SGLang")
        other.bind(("127.0.0.1", port))
        other.listen()
        end = command.done()
    assert end.code == 1
    assert f"error: cannot listen on 127.0.0.1:{port}: taken by another process during" in end.err


def test_ctrl_c_during_the_start(tmp_path: Path, model_folder: Path) -> None:
    with Command("serve", model_folder, "--port", "0", folder=tmp_path) as command:
        command.until("loading the model")
        command.send(signal.SIGINT)
        end = command.done(15)
        assert end.code == 130
        assert "Traceback" not in end.err
        assert end.out == ""
        assert living(tmp_path) == {}


def test_an_inactive_plugin_is_refused(tmp_path: Path, model_folder: Path) -> None:
    with Command(
        "serve", model_folder, "--port", "0", folder=tmp_path, SGLANG_PLUGINS="something_else"
    ) as command:
        end = command.done()
        assert end.code == 1
        assert "error: SGLang started without the agentrt plug-in, so no policy" in end.err
        assert "hint: unset SGLANG_PLUGINS" in end.err
        assert living(tmp_path) == {}


def test_a_model_that_sglang_refuses_is_quoted(tmp_path: Path, model_folder: Path) -> None:
    model = tmp_path / "strange"
    model.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (model / name).symlink_to(model_folder / name)
    config = json.loads((model_folder / "config.json").read_text())
    config["architectures"] = ["NoSuchArchitecture"]
    (model / "config.json").write_text(json.dumps(config))
    with Command("serve", "./strange", "--port", "0", folder=tmp_path) as command:
        end = command.done()
        assert end.code == 1
        assert "error: the engine ended while loading the model" in end.err
        assert "NoSuchArchitecture" in end.err
        assert "hint: its whole log: " in end.err
        assert living(tmp_path) == {}


def test_another_sglang_is_refused(tmp_path: Path, model_folder: Path) -> None:
    other = tmp_path / "packages/sglang-0.5.22.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: sglang\nVersion: 0.5.22\n")
    end = finished("serve", model_folder, folder=tmp_path, PYTHONPATH=str(other.parent))
    assert end.code == 1
    assert "error: sglang 0.5.22 is installed, expected sglang==0.5.23" in end.err
    assert "hint: agentrt engine install" in end.err


# What is refused before anything is started.


def test_a_port_in_use(home: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert run(["serve", str(model_folder), "--port", str(port)]) == 1
    assert f"error: cannot listen on 127.0.0.1:{port}: Address already in use" in (
        capsys.readouterr().err
    )
    assert not (home.parent.parent / "cache/logs").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--policy", "program_fcfs"], "unknown policy 'program_fcfs': expected one of guard, g"),
        (["--host", "0.0.0.0"], "refusing to listen on 0.0.0.0 without a key"),
        (["--kv-tokens", "0"], "kv_tokens is 0: expected at least 1"),
        (["--max-running", "0"], "max_running is 0: expected at least 1"),
        (["--port", "70000"], "port is 70000: expected 1 to 65535"),
        (["--port", "-1"], "port is -1: expected 1 to 65535"),
        (["--host", "no.such.host.invalid", "--api-key", "x"], "cannot listen on no.such.host"),
    ],
)
def test_an_unusable_setting(
    home: Path,
    model_folder: Path,
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["serve", str(model_folder), *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"error: {says}" in printed.err
    assert not (home.parent.parent / "cache/logs").exists()


@pytest.mark.parametrize("arguments", [["--kv-tokens", "many"], ["--dtype", "int3"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert run(["serve", *arguments]) == 2


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("/no/such/folder", "no model '/no/such/folder': neither a folder nor one of"),
        ("SmolLM2-135M-Instruct", "model SmolLM2-135M-Instruct was not fetched yet"),
    ],
)
def test_a_model_that_is_not_there(
    model: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", model]) == 1
    assert f"error: {says}" in capsys.readouterr().err


def test_a_truncated_model(
    home: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = home / "cut"
    model.mkdir()
    for name in ("tokenizer.json", "config.json"):
        (model / name).symlink_to(model_folder / name)
    with (model_folder / "model.safetensors").open("rb") as whole:
        (model / "model.safetensors").write_bytes(whole.read(1_000_000))
    assert run(["serve", str(model)]) == 1
    error = capsys.readouterr().err
    assert "model.safetensors: 1,000,000 bytes, its header describes 269," in error
    assert not (home.parent.parent / "cache/logs").exists()
