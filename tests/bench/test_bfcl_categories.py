"""Categories that not every machine can run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentrt.errors import SettingError
from agentrt.testing import ScriptedModel, answer
from agentrt_tools.bfcl.categories import SEARCH_KEY, load_category
from agentrt_tools.bfcl.web_search import WEB_SEARCH
from tests.bench.test_bfcl_failures import with_model


def with_packages(monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
    """As if of the packages in question these were there."""
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: SimpleNamespace() if name in present else None
    )


def test_a_vector_memory_needs_packages(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    with_packages(monkeypatch, "faiss")
    expected = "memory_vector needs sentence-transformers and a model of the Hugging Face hub"
    with pytest.raises(SettingError, match=expected):
        load_category(data, "memory_vector")
    with_packages(monkeypatch, "faiss", "sentence_transformers")
    assert len(load_category(data, "memory_vector")) == 155 + 37


@pytest.mark.parametrize("category", WEB_SEARCH)
def test_a_search_needs_packages_and_a_key(
    category: str, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    monkeypatch.delenv(SEARCH_KEY, raising=False)
    with_packages(monkeypatch, "html2text")
    with pytest.raises(SettingError, match="needs google-search-results, beautifulsoup4 and a key"):
        load_category(data, category)
    with_packages(monkeypatch, "html2text", "serpapi", "bs4")
    with pytest.raises(SettingError, match=f"{category} asks a search service, and {SEARCH_KEY}"):
        load_category(data, category)
    monkeypatch.setenv(SEARCH_KEY, "k")
    entries = load_category(data, category)
    assert len({entry.entry_id for entry in entries}) == len(entries) == 100
    snippets = {entry.raw["initial_config"]["WebSearchAPI"]["show_snippet"] for entry in entries}
    assert snippets == {category == "web_search_base"}
    assert {each.name for each in entries[0].functions} == {
        "search_engine_query",
        "fetch_url_content",
    }


def test_a_search_entry_is_checked_by_its_answer(
    monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    """Nothing is searched for, so neither the packages nor the service are needed."""
    with_packages(monkeypatch, "html2text", "serpapi", "bs4")
    monkeypatch.setenv(SEARCH_KEY, "k")
    entry = load_category(data, "web_search_base")[0]
    monkeypatch.undo()
    with ScriptedModel([answer("That is Zhang Yiming, I think.")]) as model:
        result = with_model(entry, model)
        assert model.requests[0].messages[0]["content"].startswith("For your final answer")
    assert result.valid, result.message
    with ScriptedModel([answer("Nobody knows.")]) as model:
        assert with_model(entry, model).problem == "agentic:answer_not_found"
