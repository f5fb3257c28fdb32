"""Names and paths of models."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentrt_engine.cache import models_dir
from agentrt_engine.errors import ModelNotFound
from agentrt_engine.models.catalog import DEFAULT_MODEL
from agentrt_engine.models.folder import fetched_models, resolve_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTRT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def fetched(name: str) -> Path:
    folder = models_dir() / name
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    return folder


def test_no_name_is_the_default_model() -> None:
    folder = fetched(DEFAULT_MODEL.name)
    assert resolve_model() == resolve_model(DEFAULT_MODEL.name) == folder


def test_before_the_fetch_the_hint_is_to_fetch() -> None:
    with pytest.raises(ModelNotFound, match="not fetched yet") as caught:
        resolve_model()
    assert caught.value.hint == "agentrt models fetch"


def test_any_folder_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert resolve_model("mine") == resolve_model(str(tmp_path / "mine")) == tmp_path / "mine"


def test_a_fetched_model_wins_over_a_folder_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    folder = fetched("mine")
    assert resolve_model("mine") == folder
    assert resolve_model("./mine") == tmp_path / "mine"


def test_an_unknown_name_lists_the_known_ones() -> None:
    fetched("other")
    with pytest.raises(ModelNotFound, match=r"'nope'.*other"):
        resolve_model("nope")


def test_unfinished_fetches_are_no_models() -> None:
    fetched(".other.work-1")
    fetched("b")
    fetched("a")
    assert fetched_models() == ["a", "b"]
