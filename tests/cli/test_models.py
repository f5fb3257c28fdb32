"""`agentrt models`. How fetching works: tests/models."""

from __future__ import annotations

import json

import pytest

from agentrt.cli.main import run
from agentrt_engine.cache import models_dir
from agentrt_engine.models.catalog import DEFAULT_MODEL


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    assert run(["models", "list", "--json", "-"]) == 0
    models: list[dict[str, str]] = json.loads(capsys.readouterr().out)
    return models


def test_the_default_model_is_listed_before_it_is_fetched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (model,) = listed(capsys)
    assert (model["name"], model["state"]) == (DEFAULT_MODEL.name, "not fetched")


def test_a_damaged_model_is_listed_with_its_damage(capsys: pytest.CaptureFixture[str]) -> None:
    folder = models_dir() / DEFAULT_MODEL.name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{")
    (model,) = listed(capsys)
    assert model["state"] == "damaged"
    assert "config.json: not JSON" in model["about"]


def test_the_list_is_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"]) == 0
    heading, row, *_ = capsys.readouterr().out.splitlines()
    assert heading.split() == ["model", "state", "about"]
    assert row.startswith(f"{DEFAULT_MODEL.name}  not fetched")


def test_a_wrong_file_is_refused_by_size_and_hash(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    models_dir().mkdir(parents=True)
    wrong = models_dir().parent / "wrong.gguf"
    wrong.write_bytes(b"GGUF")
    assert run(["models", "fetch", "--from", str(wrong)]) == 1
    error = capsys.readouterr().err
    assert "4 bytes" in error
    assert f"expected {DEFAULT_MODEL.gguf_bytes:,} bytes" in error
    assert DEFAULT_MODEL.gguf_sha256 in error
