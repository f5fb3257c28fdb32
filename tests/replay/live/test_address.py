"""Engines as users write them."""

from __future__ import annotations

import pytest

from agentrt.errors import SettingError
from agentrt.replay.live.address import EngineAddress, parse_addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://127.0.0.1:30000", EngineAddress("http://127.0.0.1:30000")),
        ("http://h:1/v1/", EngineAddress("http://h:1")),
        ("https://h/base/v1", EngineAddress("https://h/base")),
        ("stock=http://h:1", EngineAddress("http://h:1", "stock")),
        ("http://h:1/?a=b", EngineAddress("http://h:1/?a=b")),
        ("guard, warm=http://h:1", EngineAddress("http://h:1", "guard, warm")),
    ],
)
def test_a_url_with_or_without_a_name(text: str, address: EngineAddress) -> None:
    assert parse_addresses([text], []) == [address]


@pytest.mark.parametrize("text", ["h:1", "ftp://h", "stock=h:1", "", "http://", "name="])
def test_anything_else_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(SettingError, match="expected the URL of an engine, or NAME=URL"):
        parse_addresses([text], [])


def test_a_name_belongs_to_one_engine() -> None:
    with pytest.raises(SettingError, match="two engines have this name"):
        parse_addresses(["a=http://h:1", "a=http://h:2"], [])


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingError) as caught:
        parse_addresses(["http://me:secret@h:1"], [])
    assert "secret" not in str(caught.value)


def test_keys_are_for_all_engines_or_for_the_one_they_name() -> None:
    engines = ["a=http://h:1", "b=http://h:2", "http://h:3"]
    found = parse_addresses(engines, ["a=mine==", "sk-x=y"])
    assert [address.key for address in found] == ["mine==", "sk-x=y", "sk-x=y"]
    assert "mine" not in repr(found)
