"""The memory categories: what one conversation leaves, the next one finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from agentrt.testing import ModelRequest, ScriptedModel, Step, answer, call
from agentrt_tools.bench.job import Job
from agentrt_tools.bench.results import EntryResult
from agentrt_tools.bfcl.entries import Entry, choose
from agentrt_tools.bfcl.memory import MEMORY, load_memory_entries
from agentrt_tools.bfcl.reference import ReferenceModel
from agentrt_tools.bfcl.run_entry import EntryOptions, run_entry

#: How a back end is told to keep a text.
KEEP: dict[str, tuple[str, dict[str, Any]]] = {
    "memory_kv": ("core_memory_add", {"key": "name", "value": "Michael"}),
    "memory_rec_sum": ("memory_update", {"text": "The user is called Michael."}),
}


@pytest.fixture(scope="module", params=MEMORY[:2])
def entries(request: pytest.FixtureRequest, data: Path) -> list[Entry]:
    return load_memory_entries(data, request.param)


def run_all(
    entries: list[Entry],
    model: ScriptedModel,
    folder: Path,
    results: dict[str, EntryResult],
    **options: Any,
) -> None:
    """The entries as a job of eight at once; `results` are filled as they end."""
    chosen = EntryOptions(streams=False, folder=folder, **options)

    async def work(runtime: Any, entry: Entry, policy: str | None) -> EntryResult:
        result = results[entry.entry_id] = await run_entry(runtime, entry, policy, chosen)
        return result

    job = Job("bfcl", entries, {}, folder / "out", parallel=8)
    under: list[str | None] = [None]
    anyio.run(job.run, under, lambda _policy, trace: model.connect(trace=trace), work, None)


def test_conversations_come_before_questions(entries: list[Entry]) -> None:
    questions = [entry for entry in entries if entry.is_scored]
    assert (len(entries), len(questions)) == (155 + 37, 155)
    before: set[str] = set()
    for entry in entries:
        assert set(entry.after) <= before
        before.add(entry.entry_id)
    assert len(before) == len(entries)
    assert {len(entry.after) for entry in questions} == {5, 7, 10}


def test_a_choice_has_the_conversations_it_needs(entries: list[Entry]) -> None:
    [*conversations, question] = choose(entries, 1)
    assert {entry.entry_id for entry in conversations} == set(question.after)


def test_all_that_a_conversation_keeps_is_there_in_the_next(
    entries: list[Entry], tmp_path: Path
) -> None:
    chosen = choose(entries, 1)
    category = chosen[0].category
    asked: dict[str, list[ModelRequest]] = {}

    def reply(request: ModelRequest) -> Step:
        before = asked.setdefault(request.program_id, [])
        before.append(request)
        first = len(asked) == 1 and len(before) == 1
        name, arguments = KEEP[category]
        return call(name, **arguments) if first else answer("It is Michael, as I recall.")

    results: dict[str, EntryResult] = {}
    run_all(chosen, ScriptedModel(reply), tmp_path, results)
    prompts = [requests[0].messages[0]["content"] for requests in asked.values()]
    assert "Michael" not in prompts[0]
    assert all("Michael" in prompt for prompt in prompts[1:])
    assert "For your final answer" in prompts[-1]
    assert not any("For your final answer" in prompt for prompt in prompts[:-1])
    *conversations, question = (results[entry.entry_id] for entry in chosen)
    assert all(each.valid is None and not each.problem for each in conversations)
    assert (question.valid, question.problem) == (True, "")
    assert conversations[0].calls[0][0].startswith(KEEP[category][0])
    assert not list(tmp_path.rglob("score"))[1:]  # nothing of it beside the package


def test_conversations_of_a_scenario_run_one_after_another(
    entries: list[Entry], tmp_path: Path
) -> None:
    chosen = choose(entries, 5)
    model = ReferenceModel(complete=True)
    results: dict[str, EntryResult] = {}

    def begins(program_id: str, entry: Entry) -> None:
        assert set(entry.after) <= results.keys()
        model.begins(program_id, entry)

    run_all(chosen, model, tmp_path, results, begins=begins)
    assert len(results) == len(chosen)
    assert {each.problem for each in results.values()} == {""}


@pytest.mark.parametrize("complete", [True, False])
def test_the_checker_reads_the_last_answer(
    complete: bool, entries: list[Entry], tmp_path: Path
) -> None:
    chosen = choose(entries, 10)
    model = ReferenceModel(complete=complete)
    results: dict[str, EntryResult] = {}
    run_all(chosen, model, tmp_path, results, begins=model.begins)
    verdicts = [results[entry.entry_id] for entry in chosen if entry.is_scored]
    assert {each.valid for each in verdicts} == {complete}
    assert {each.problem for each in verdicts} == {"" if complete else "agentic:answer_not_found"}
