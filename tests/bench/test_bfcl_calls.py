"""Calls as Python source and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_tools.bfcl.calls import parse, render
from agentrt_tools.bfcl.entries import Function

MOVE = Function("mv", "", {"properties": {"source": {}, "destination": {}}})

#: What JSON can hold.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["source", "destination"]), VALUES))
def test_whatever_a_model_sends_comes_back(arguments: dict[str, Any]) -> None:
    assert parse(render("mv", arguments), {"mv": MOVE}) == ("mv", arguments)


def test_arguments_without_names_take_the_parameters_in_order() -> None:
    assert parse("mv('a', destination='b')", {"mv": MOVE}) == (
        "mv",
        {"source": "a", "destination": "b"},
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mv", {"a b": 1}),
        ("mv", {"x=__import__('os')": 1}),
        ("mv", {"if": 1}),
        ("__import__('os')", {}),
    ],
)
def test_nothing_but_names_is_evaluated(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        render(name, arguments)


@pytest.mark.parametrize("source", ["mv", "rm('a')", "os.mv('a')", "mv(**{})", "mv(open('a'))"])
def test_what_is_no_call_of_a_function(source: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(source, {"mv": MOVE})
