"""Which categories there are, and what some of them take."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from agentrt.errors import SettingError
from agentrt_tools.bfcl.entries import MULTI_TURN, Entry, load_multi_turn
from agentrt_tools.bfcl.memory import MEMORY, load_memory_entries
from agentrt_tools.bfcl.web_search import WEB_SEARCH, load_web_search_entries

#: Categories by a common name: those that run anywhere.
GROUPS: dict[str, tuple[str, ...]] = {"multi_turn": MULTI_TURN, "memory": MEMORY[:2]}

SEARCH_KEY = "SERPAPI_API_KEY"

#: Import name → package, of back ends that not everybody can run.
_VECTOR = {"sentence_transformers": "sentence-transformers", "faiss": "faiss-cpu"}
_SEARCH = {"serpapi": "google-search-results", "html2text": "html2text", "bs4": "beautifulsoup4"}


def load_category(data: Path, category: str) -> list[Entry]:
    """All entries of a category.

    Raises:
        SettingError: its back end cannot run here.
    """
    if category in MULTI_TURN:
        return load_multi_turn(data, category)
    if category in MEMORY:
        if category == "memory_vector":
            _require(category, _VECTOR, "and a model of the Hugging Face hub")
        return load_memory_entries(data, category)
    assert category in WEB_SEARCH, category
    _require(category, _SEARCH, f"and a key of the search service in {SEARCH_KEY}")
    if not os.environ.get(SEARCH_KEY):
        raise SettingError(
            f"{category} asks a search service, and {SEARCH_KEY} is not set",
            hint="without a network and a key, run multi_turn and memory",
        )
    return load_web_search_entries(data, category)


def _require(category: str, packages: dict[str, str], besides: str) -> None:
    missing = [
        package for name, package in packages.items() if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise SettingError(
            f"{category} needs {', '.join(missing)} {besides}",
            hint=f"pip install {' '.join(missing)}",
        )
