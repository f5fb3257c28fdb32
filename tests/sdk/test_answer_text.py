"""The text of an answer, out of a reply that comes in pieces."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.answer_text import AnswerText

#: Whatever JSON can hold, surrogates in pairs only.
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


def read(pieces: list[str], *, is_free: bool = False) -> str:
    reader = AnswerText(is_free=is_free)
    return "".join(map(reader.feed, pieces))


@given(
    answer=TEXTS | st.text('"\\\n\t\u2028é😀{}', max_size=20),
    cuts=st.lists(st.integers(0, 300), max_size=20),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_wherever_the_reply_is_cut(
    answer: str, cuts: list[int], ascii_only: bool, indent: int | None
) -> None:
    reply = json.dumps({"answer": answer}, ensure_ascii=ascii_only, indent=indent)
    ends = sorted({0, *(min(cut, len(reply)) for cut in cuts), len(reply)})
    assert read([reply[first:end] for first, end in pairwise(ends)]) == answer


@given(answer=st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=40))
def test_each_character_comes_at_once(answer: str) -> None:
    reader = AnswerText(is_free=False)
    assert reader.feed('{"answer": "') == ""
    assert [reader.feed(character) for character in answer] == list(answer)
    assert reader.feed('"}') == ""


def test_raw_control_characters_are_kept() -> None:
    assert read(['{"answer": "a\nb', '\tc"}']) == "a\nb\tc"


@pytest.mark.parametrize(
    "reply",
    [
        '{"name": "grep", "arguments": {"answer": "x"}}',
        '{"answer": 5}',
        '{"answer": {"answer": "x"',
        "",
    ],
)
def test_what_is_no_text_that_answers_is_left_out(reply: str) -> None:
    assert read(list(reply)) == ""


def test_half_a_character_at_the_end_is_not_told() -> None:
    assert read(['{"answer": "a\\ud83d']) == "a"


def test_half_a_pair_before_other_text_is_told_as_it_is() -> None:
    assert read(['{"answer": "\\ud83d', '!"}']) == "\ud83d!"


def test_a_free_reply_is_the_answer() -> None:
    assert read(['{"answer": ', "hm"], is_free=True) == '{"answer": hm'
