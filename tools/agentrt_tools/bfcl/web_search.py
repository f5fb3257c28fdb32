"""The web search categories: questions whose answers take several searches."""

from __future__ import annotations

from pathlib import Path

from agentrt_tools.bfcl.entries import Entry, UserTurn, functions_of, rows, text_of

#: With and without excerpts of the pages that were found.
WEB_SEARCH = ("web_search_base", "web_search_no_snippet")

_BACK_END = "WebSearchAPI"


def load_web_search_entries(data: Path, category: str) -> list[Entry]:
    """All entries of a category of `WEB_SEARCH`.

    Args:
        data: folder `data` of the package.
    """
    config = {_BACK_END: {"show_snippet": category == WEB_SEARCH[0]}}
    answers = rows(data / "possible_answer/BFCL_v4_web_search.json")
    entries = []
    for row, answer in zip(rows(data / "BFCL_v4_web_search.json"), answers, strict=True):
        entry_id = row["id"].replace("web_search", category, 1)
        entries.append(
            Entry(
                entry_id=entry_id,
                category=category,
                turns=(UserTurn(text_of(row["question"][0])),),
                functions=functions_of(data, _BACK_END),
                reference=(),
                raw={"id": entry_id, "involved_classes": [_BACK_END], "initial_config": config},
                answers=tuple(answer["ground_truth"]),
            )
        )
    return entries
