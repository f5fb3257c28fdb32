"""Bounded strings with escapes for clients that ask, and nobody else's grammar changed."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from agentrt import tool
from agentrt.answer_form import TEXT
from agentrt.turn_format import response_format
from agentrt_engine.sglang.flag import EngineFlag
from agentrt_engine.sglang.server import EngineProcess
from agentrt_engine.wire.bounded_strings import (
    ESCAPES_COMMENT,
    MAX_AFTER_ESCAPE,
    MAX_ESCAPES,
    with_escapes,
)
from tests.support.sglang_probe import Report, probe

LIMIT = 10


@tool
def bash(command: str) -> str:
    """Run a command."""
    return command


def turn_schema() -> dict[str, Any]:
    """What the SDK sends."""
    schema: dict[str, Any] = with_escapes(response_format([bash], TEXT.constraint(600)))[
        "json_schema"
    ]["schema"]
    return schema


BOUNDED = {
    "type": "object",
    "properties": {"text": {"type": "string", "maxLength": LIMIT}},
    "required": ["text"],
    "additionalProperties": False,
}
ASKING = {**BOUNDED, "$comment": ESCAPES_COMMENT}
IMPOSSIBLE = {**ASKING, "properties": {"text": {"type": "string", "minLength": 9, "maxLength": 1}}}
UNBOUNDED = {**ASKING, "properties": {"text": {"type": "string"}}}


def text(inside: str) -> str:
    return f'{{"text": "{inside}"}}'


#: What a bounded string of ten characters may hold when escapes were asked for.
ACCEPTED = {
    "nothing": "",
    "as many characters as it may": "x" * LIMIT,
    "quotes": r"echo \"a\"",
    "lines": r"one\ntwo\n",
    "a backslash": r"a\\b",
    "a tab and a code point": r"\t\u00e9",
    "other scripts": "größe 数",
    "as many escapes as it may": r"\n" * MAX_ESCAPES,
    "characters after an escape": r"\n" + "x" * MAX_AFTER_ESCAPE,
}
REFUSED = {
    "a character too many": "x" * (LIMIT + 1),
    "an escape too many": r"\n" * (MAX_ESCAPES + 1),
    "too much after an escape": r"\n" + "x" * (MAX_AFTER_ESCAPE + 1),
    "a raw newline": "a\nb",
    "a raw tab": "a\tb",
    "another control character": "a\x01b",
    "a quote that is not escaped": 'a"b',
    "an escape that JSON does not know": r"\q",
}
CALLS = {
    "a call": {"name": "bash", "arguments": {"command": 'grep -n "def \\w+" a.py\necho $?'}},
    "an answer": {"answer": 'It says "no".\nTwice.'},
}


@pytest.fixture(scope="module")
def report() -> Report:
    mine = [*map(text, ACCEPTED.values()), *map(text, REFUSED.values())]
    others = [text("x"), text(r"\n")]
    return probe(
        flag=EngineFlag(policy="lru", instance="probe").environment(),
        grammars=[
            (json.dumps(ASKING), mine),
            (json.dumps(BOUNDED), others),
            (json.dumps(UNBOUNDED), others),
            (json.dumps(turn_schema()), [json.dumps(call) for call in CALLS.values()]),
            (json.dumps(IMPOSSIBLE), []),
            (json.dumps({**BOUNDED, "$comment": "somebody else's"}), others),
            ("$$ANY$$", ["[1]"]),
        ],
    )


def test_xgrammar_still_writes_bounded_strings_as_we_rewrite_them(report: Report) -> None:
    own, used, _ = report["grammars"][0]
    assert own is not None
    assert r"_characters ::= (([^\"\\\r\n]))" in own
    assert f"_characters{{0, {LIMIT}}}" in own
    assert used is not None
    assert f"_characters{{0, {MAX_AFTER_ESCAPE}}}" in used


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_may_hold(report: Report, name: str) -> None:
    assert report["grammars"][0][2][list(ACCEPTED).index(name)]


@pytest.mark.parametrize("name", REFUSED)
def test_it_may_not_hold(report: Report, name: str) -> None:
    assert not report["grammars"][0][2][len(ACCEPTED) + list(REFUSED).index(name)]


def test_the_turns_of_the_sdk_may_hold_quotes_and_lines(report: Report) -> None:
    assert report["grammars"][3][2] == [True] * len(CALLS)


@pytest.mark.parametrize("index", [1, 5], ids=["no comment", "another comment"])
def test_the_schemas_of_other_clients_are_left_alone(report: Report, index: int) -> None:
    own, used, accepted = report["grammars"][index]
    assert used == own
    assert accepted == [True, False]


def test_a_string_without_a_limit_needs_no_help(report: Report) -> None:
    own, used, accepted = report["grammars"][2]
    assert used == own
    assert accepted == [True, True]


def test_sglang_says_what_is_wrong_with_a_schema(report: Report) -> None:
    own, used, _ = report["grammars"][4]
    assert own is None
    assert used is None


def test_the_builtin_json_grammar_still_works(report: Report) -> None:
    assert report["grammars"][6][2] == [True]


@pytest.mark.parametrize("asks", [True, False])
def test_the_engine_lets_a_model_write_escapes_only_where_they_were_asked_for(
    engine: EngineProcess, asks: bool
) -> None:
    # A model that wants nothing but backslashes shows what the grammar permits.
    [backslash] = httpx2.post(
        f"{engine.url}/tokenize", json={"prompt": "\\", "add_special_tokens": False}
    ).json()["tokens"]
    constraint = {
        "type": "json_schema",
        "json_schema": {"name": "text", "strict": True, "schema": BOUNDED},
    }
    body = {
        "model": engine.info.model,
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 200,
        "temperature": 0,
        "logit_bias": {str(backslash): 50},
        "response_format": with_escapes(constraint) if asks else constraint,
    }
    answer = httpx2.post(f"{engine.url}/v1/chat/completions", json=body, timeout=120)
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert set(json.loads(choice["message"]["content"])) == {"text"}
    assert ("\\" in choice["message"]["content"]) is asks
