"""Flag > environment > file in the project > file of the user."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest
from cyclopts import App

from agentrt.cli.main import run
from agentrt.cli.settings import settings_sources


def chosen(*arguments: str) -> int:
    """What a command with an option `--kv-tokens` gets."""
    app = App(name="agentrt", config=settings_sources(), result_action="return_value")

    @app.command
    def serve(*, kv_tokens: int = 0) -> int:
        return kv_tokens

    result: int = app(["serve", *arguments])
    return result


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "agentrt.toml"
    path.write_text(text)
    return path


def test_each_source_wins_over_the_next(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen() == 0
    write(platformdirs.user_config_path("agentrt"), "[serve]\nkv-tokens = 1")
    assert chosen() == 1
    write(home.parent, "[serve]\nkv_tokens = 2")
    assert chosen() == 2
    write(home, "[serve]\nkv_tokens = 3")
    assert chosen() == 3
    monkeypatch.setenv("AGENTRT_SERVE_KV_TOKENS", "4")
    assert chosen() == 4
    assert chosen("--kv-tokens", "5") == 5


def test_a_bad_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTRT_DOCTOR_DEVICE", "tpu")
    assert run(["doctor"]) == 2
    assert 'Invalid value "tpu" for AGENTRT_DOCTOR_DEVICE' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[engine.install]\ndevice = "tpu"', 'Invalid value "tpu" for [device] from {path}'),
        ("[engine.install]\ndevise = 1", 'Unknown option: "[devise]" from {path}'),
        ("[engine.install", "{path}: Expected ']'"),
    ],
)
def test_a_bad_entry_names_the_file_and_the_key(
    home: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    path = write(home, text)
    assert run(["engine", "install", "--dry-run"]) == 2
    assert says.format(path=path) in capsys.readouterr().err
