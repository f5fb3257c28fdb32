"""What a body of hints may hold, and what is said of one that holds something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.wire.hint_decoding import InvalidHint, decode_hints
from agentrt_engine.wire.hints import Hint, HintKind

STARTED = {"program_id": "p", "kind": "tool_started", "tool": "bash"}


def decode(value: Any) -> list[Hint]:
    return decode_hints(json.dumps(value).encode()).hints


def test_one_hint() -> None:
    body = STARTED | {"expected_s": {"0.5": 2, "0.95": 30.5}, "call_id": "c", "signature": "ls\n"}
    assert decode(body) == [
        Hint(
            "p",
            HintKind.TOOL_STARTED,
            "bash",
            signature="ls\n",
            call_id="c",
            expected_s={"0.5": 2.0, "0.95": 30.5},
        )
    ]


def test_several_hints() -> None:
    kinds = ["ended", "share", "demote", "prefetch", "retain", "tool_finished"]
    hints = decode([{"program_id": "p", "kind": kind} for kind in kinds])
    assert [hint.kind for hint in hints] == kinds


def test_the_envelope() -> None:
    batch = decode_hints(
        json.dumps(
            {
                "protocol_version": "1",
                "message_id": "m",
                "actions": [
                    action("a", "Pin", {"session_id": "s", "ttl_ms": 1500, "theirs": 1}),
                    action("b", "Demote", {"program_id": "p"}),
                ],
            }
        ).encode()
    )
    assert batch.action_ids == ["a", "b"]
    assert batch.hints == [Hint("s", HintKind.PIN, ttl_s=1.5), Hint("p", HintKind.DEMOTE)]


def action(action_id: str, action_type: str, payload: Any) -> dict[str, Any]:
    return {
        "action_id": action_id,
        "action_type": action_type,
        "action_version": "1",
        "payload": payload,
    }


def started(**fields: Any) -> dict[str, Any]:
    return STARTED | fields


INVALID: list[tuple[Any, str, str]] = [
    (7, "$", "a hint, an object"),
    ([STARTED, None], "$[1]", "a hint, an object"),
    ({"kind": "ended"}, "$.program_id", "a value"),
    ({"program_id": "p"}, "$.kind", "a value"),
    (started(kind="no"), "$.kind", "tool_started, tool_finished"),
    (started(kind=3), "$.kind", "tool_started, tool_finished"),
    (started(program_id=""), "$.program_id", "1 to 256 printable characters"),
    (started(program_id="x" * 257), "$.program_id", "1 to 256 printable characters"),
    (started(tool=["bash"]), "$.tool", "1 to 256 printable characters"),
    (started(tool="a\x00"), "$.tool", "1 to 256 printable characters"),
    (started(signature="x" * 257), "$.signature", "at most 256 characters"),
    (started(signature=["ls"]), "$.signature", "str, found array"),
    ([STARTED, started(other=1)], "$[1].other", "no such field, only program_id, kind"),
    (started(outcome="won"), "$.outcome", "finished, failed, timed_out, cancelled"),
    (started(outcome={}), "$.outcome", "finished, failed, timed_out, cancelled"),
    (started(progress=0), "$.progress", "above 0 and up to 1"),
    (started(progress=1.01), "$.progress", "above 0 and up to 1"),
    (started(progress=True), "$.progress", "above 0 and up to 1"),
    (started(remaining_turns=-1), "$.remaining_turns", "turns, a whole number"),
    (started(remaining_turns=1.5), "$.remaining_turns", "int, found float"),
    (started(remaining_s=-0.1), "$.remaining_s", "seconds, from 0"),
    (started(remaining_s=10**400), "$.remaining_s", "seconds, from 0"),
    (started(priority="high"), "$.priority", "a number within"),
    (started(ttl_s=1e12), "$.ttl_s", "seconds, from 0"),
    (started(expected_s=3), "$.expected_s", "1 to 16 quantiles"),
    (started(expected_s={}), "$.expected_s", "1 to 16 quantiles"),
    (started(expected_s={f"0.{i}1": 1 for i in range(17)}), "$.expected_s", "1 to 16 quantiles"),
    ([STARTED] * 3 + [started(expected_s={"0.5": -1})], '$[3].expected_s["0.5"]', "seconds"),
    (started(expected_s={"0.5": None}), '$.expected_s["0.5"]', "seconds, from 0"),
    (started(expected_s={"1": 1}), '$.expected_s["1"]', "a key above 0 and below 1"),
    (started(expected_s={"nan": 1}), '$.expected_s["nan"]', "a key above 0 and below 1"),
    (started(expected_s={"p50": 1}), '$.expected_s["p50"]', "a key above 0 and below 1"),
    ({"program_id": "p", "kind": "pin"}, "$.ttl_s", "a value: the hint is pin"),
    ({"program_id": "p", "kind": "priority"}, "$.priority", "a value: the hint is priority"),
    ({"program_id": "p", "kind": "remaining"}, "$.remaining_turns", "a value: the hint is"),
    ({"program_id": "p", "kind": "tool_progress"}, "$.progress", "a value: the hint is"),
    ([STARTED] * 257, "$", "at most 256 hints, found 257"),
    ({"actions": 3}, "$.actions", "a list of actions"),
    ({"actions": [3]}, "$.actions[0]", "an action, an object"),
    ({"actions": [{}]}, "$.actions[0].action_id", "1 to 256 printable characters"),
    ({"actions": [action("a", "Hold", {})]}, "$.actions[0].action_type", "Share, Prefetch"),
    ({"actions": [action("a", "Share", [])]}, "$.actions[0].payload", "an object"),
    ({"actions": [action("a", "Share", {})]}, "$.actions[0].payload.session_id", "1 to 256"),
    (
        {"actions": [action("a", "Pin", {"program_id": "p", "ttl_ms": "1"})]},
        "$.actions[0].payload.ttl_ms",
        "milliseconds, from 0",
    ),
    (
        {"actions": [action("a", "Pin", {"program_id": "p"})]},
        "$.actions[0].payload.ttl_s",
        "a value: the hint is pin",
    ),
]


@pytest.mark.parametrize(("body", "field", "expected"), INVALID)
def test_the_field_is_named(body: Any, field: str, expected: str) -> None:
    with pytest.raises(InvalidHint) as caught:
        decode(body)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: expected ")
    assert expected in str(caught.value)
    assert "`" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"NaN", b"\xff", b'"\xff"', b"[" * 100_000, b'[{"ttl_s": 1e999}]']
)
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(InvalidHint) as caught:
        decode_hints(body)
    assert caught.value.field == "$"


NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
ANY = st.recursive(
    st.none() | NUMBER | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from([*Hint.__struct_fields__, "actions"]) | st.text(max_size=3), ANY, max_size=4
    ),
    st.sampled_from(list(HintKind)) | ANY,
)
def test_any_json_gives_hints_or_names_a_field(fields: dict[str, Any], kind: Any) -> None:
    try:
        hints = decode({"program_id": "p", "kind": kind} | fields)
    except InvalidHint as error:
        assert error.field.startswith("$")
        assert len(str(error)) < 1000
    else:
        for hint in hints:
            assert hint.ttl_s is None or 0 <= hint.ttl_s < float("inf")
            assert hint.progress is None or 0 < hint.progress <= 1
            assert all(value >= 0 for value in (hint.expected_s or {}).values())
