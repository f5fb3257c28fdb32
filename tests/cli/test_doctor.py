"""What the doctor finds, says, and recommends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from agentrt.cli.doctor import State, check_engine
from agentrt.cli.main import run
from agentrt_engine.device import Device
from agentrt_engine.installed import Inventory, read_inventory
from agentrt_engine.requirements import engine_requirements


def complete(device: Device, changes: Mapping[str, str | None] | None = None) -> Inventory:
    """Everything that an engine for `device` needs, with changed or removed versions."""
    versions = {r.name: r.version or "1.0" for r in engine_requirements(device)}
    for name, version in (changes or {}).items():
        if version is None:
            del versions[name]
        else:
            versions[name] = version
    return Inventory(versions, device if "torch" in versions else None, plugin=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that passes for a model."""
    folder = tmp_path / ("a-long-name-" * 12)
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "tokenizer.json").touch()
    (folder / "pytorch_model.bin").touch()
    return folder


@pytest.mark.parametrize("device", list(Device))
def test_a_complete_engine_is_ok(device: Device) -> None:
    check = check_engine(device, complete(device))
    assert (check.state, check.mend) == (State.OK, "")
    assert f"SGLang 0.5.23 for {device}" in check.found


def test_nothing_installed() -> None:
    check = check_engine(Device.CPU, Inventory({}, None, plugin=True))
    assert check.state is State.MISSING
    assert check.found == "no engine is installed: no torch, sglang"
    assert check.mend == "agentrt engine install --device cpu"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sglang": None}, "no engine is installed: no sglang"),
        ({"sglang": "0.5.22"}, "sglang 0.5.22 is installed, expected sglang==0.5.23"),
        ({"torch": "2.14.1+cpu"}, "torch 2.14.1+cpu is installed, expected torch==2.13.0"),
        ({"openai": "2.8.0"}, "openai 2.8.0 is installed, expected openai>=3"),
        ({"numpy": None, "gguf": None}, "packages of the engine are missing: numpy, gguf"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, str | None], found: str) -> None:
    check = check_engine(Device.CPU, complete(Device.CPU, changes))
    assert (check.state, check.found) == (State.MISSING, found)
    assert check.mend == "agentrt engine install --device cpu"


def test_a_torch_of_the_other_device_needs_another_environment() -> None:
    check = check_engine(Device.CUDA, complete(Device.CPU))
    assert check.found == "torch 2.13.0 is built for cpu, not for cuda"
    assert check.mend == "in a new virtual environment: agentrt engine install --device cuda"


def test_a_lost_entry_point_is_named() -> None:
    versions = complete(Device.CPU).versions
    check = check_engine(Device.CPU, Inventory(versions, Device.CPU, plugin=False))
    assert check.state is State.MISSING
    assert "sglang.srt.plugins" in check.found


def test_exit_code_0_when_an_agent_could_run(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = read_inventory().torch_device
    assert device is not None
    assert run(["doctor", str(model), "--device", device]) == 0
    assert "An agent can run here." in capsys.readouterr().out


def test_exit_code_1_and_a_remedy_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "→ agentrt models fetch" in shown
    assert "No agent can run here yet" in shown


def test_a_simulator_in_plain_python_is_ok_and_can_be_made_faster(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(["doctor", "--json", "-"])
    checks = {check["part"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    simulator = checks["simulator"]
    assert (simulator["state"], simulator["mend"]) == (State.OK, "")
    # The tests run from the sources, which are never compiled.
    assert simulator["found"].startswith("plain Python; AGENTRT_COMPILE=1 pip install")


def test_the_table_is_at_most_100_columns_wide(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run(["doctor", str(model)])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_json_on_stdout_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["doctor", "--json", "-"])
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["usable"] is (status == 0)
    assert {check["part"] for check in document["checks"]} >= {"machine", "engine", "model"}
    assert "No agent can run here yet" in printed.err


def test_json_in_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "--json", "report.json"])
    assert json.loads((home / "report.json").read_text())["usable"] is False
    assert "No agent can run here yet" in capsys.readouterr().out


def test_json_that_cannot_be_written_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json", "no/such/folder.json"]) == 2
    assert "there is no folder no/such" in capsys.readouterr().err


def test_json_that_turns_out_unwritable_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--json", str(tmp_path)]) == 1
    assert f"error: --json {tmp_path}: Is a directory" in capsys.readouterr().err
