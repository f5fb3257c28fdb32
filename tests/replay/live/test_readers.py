"""Streamed answers, event by event."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentrt.replay.live.completions import CompletionsReader
from agentrt.replay.live.generate import GenerateReader
from agentrt.replay.live.wire import AnswerReader, RequestFailed


def feed(reader: AnswerReader, *events: dict[str, Any]) -> list[bool]:
    return [reader.feed(json.dumps(event)) for event in events]


def generated(ids: list[int], done: int, finish: Any = None, **meta: Any) -> dict[str, Any]:
    meta = {"completion_tokens": done, "cached_tokens": 3, "prompt_tokens": 9, **meta}
    return {"output_ids": ids, "text": "…", "meta_info": meta | {"finish_reason": finish}}


LENGTH = {"type": "length", "length": 3}


def test_events_with_all_ids_so_far() -> None:
    reader = GenerateReader()
    assert feed(reader, generated([5], 1), generated([5, 6], 2)) == [True, True]
    feed(reader, generated([5, 6, 7], 3, LENGTH, queue_time=0.5))
    answer = reader.answer()
    assert answer.output_ids == [5, 6, 7]
    assert (answer.prompt_tokens, answer.cached_tokens, answer.queue_s) == (9, 3, 0.5)


def test_events_with_new_ids_only() -> None:
    reader = GenerateReader()
    feed(reader, generated([5], 1), generated([6, 7], 3), generated([8], 4, LENGTH))
    assert reader.answer().output_ids == [5, 6, 7, 8]


def test_everything_in_one_event() -> None:
    reader = GenerateReader()
    feed(reader, generated([5, 6, 7], 3, LENGTH))
    assert reader.answer().output_ids == [5, 6, 7]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([generated([5], 1)], "the answer broke off"),
        ([{"error": {"message": "too long"}}], "too long"),
        ([generated([5], 1), generated([5, 6], 2), {"error": {"message": "x"}}], "x"),
        ([generated([5], 1, {"type": "abort", "message": "no memory"})], "no memory"),
        ([{"text": ""}], "without meta_info"),
    ],
)
def test_an_answer_that_is_none_fails(events: list[dict[str, Any]], reason: str) -> None:
    reader = GenerateReader()
    with pytest.raises(RequestFailed, match=reason):
        feed(reader, *events)
        reader.answer()


def completed(ids: list[int] | None = None, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"text": "", "finish_reason": finish, "token_ids": ids}]}


def test_completions_with_ids_and_usage() -> None:
    reader = CompletionsReader()
    details = {"prompt_tokens_details": {"cached_tokens": 4}}
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, **details}}
    assert feed(reader, completed([5]), completed([6, 7], "length"), usage) == [True] * 3
    answer = reader.answer()
    assert (answer.output_ids, answer.output_tokens, answer.cached_tokens) == ([5, 6, 7], 3, 4)


def test_completions_without_either_count_events() -> None:
    reader = CompletionsReader()
    feed(reader, completed(), completed(finish="stop"))
    answer = reader.answer()
    assert (answer.output_ids, answer.output_tokens, answer.cached_tokens) == (None, 2, None)
    assert answer.prompt_tokens is None


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([completed([5])], "broke off"),
        ([completed([5], "abort")], "ended by the engine: abort"),
        ([{"error": {"message": "no"}}], "no"),
    ],
)
def test_a_completion_that_is_none_fails(events: list[dict[str, Any]], reason: str) -> None:
    reader = CompletionsReader()
    with pytest.raises(RequestFailed, match=reason):
        feed(reader, *events)
        reader.answer()
