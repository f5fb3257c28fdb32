"""What an engine is, found out by asking."""

from __future__ import annotations

import pytest

from agentrt.errors import AgentrtError, EngineUnreachable, ModelRequestFailed, ReplayError
from agentrt.replay.live.address import EngineAddress
from agentrt.replay.live.engine import open_engine
from agentrt.replay.live.facts import EngineFacts, told_apart
from agentrt.testing import in_virtual_time
from tests.support.live_server import MODEL, Kind, LiveServer
from tests.support.scripted_engine import INFO


def facts(
    server: LiveServer, *, name: str | None = None, key: str | None = None, model: str | None = None
) -> EngineFacts:
    async def ask() -> EngineFacts:
        address = EngineAddress("http://engine:30000", name, key)
        async with open_engine(address, model=model, transport=server.transport()) as engine:
            return engine.facts

    return in_virtual_time(ask)


def test_sglang_is_asked_in_its_own_protocol() -> None:
    found = facts(LiveServer(Kind.SGLANG))
    assert (found.name, found.version, found.protocol) == ("sglang", "0.5.23", "sglang generate")
    assert (found.context_tokens, found.kv_tokens) == (100_000, 50_000)
    assert found.largest_turn == 49_992
    assert found.returns_ids
    assert found.exact_length


def test_an_engine_with_our_plug_in_is_named_after_its_policy() -> None:
    found = facts(LiveServer(Kind.SGLANG, info=INFO))
    assert found.name == INFO.policy
    assert found.kv_tokens == INFO.kv_tokens
    assert facts(LiveServer(Kind.SGLANG, info=INFO), name="mine").name == "mine"


def test_vllm_is_asked_for_completions_with_its_extensions() -> None:
    found = facts(LiveServer(Kind.VLLM))
    assert (found.name, found.version, found.protocol) == ("vllm", "0.33.0", "openai completions")
    assert found.returns_ids
    assert found.exact_length


def test_an_engine_that_knows_no_extension_is_asked_without() -> None:
    found = facts(LiveServer(Kind.PLAIN))
    assert found.name == "engine:30000"
    assert found.largest_turn is None
    assert not found.returns_ids
    assert not found.exact_length


def test_the_key_is_sent() -> None:
    assert facts(LiveServer(key="sesame"), key="sesame").model == MODEL


@pytest.mark.parametrize(
    ("server", "model", "kind", "says"),
    [
        (LiveServer(Kind.TEXT), None, ModelRequestFailed, "takes no prompt of token ids: HTTP 400"),
        (LiveServer(key="sesame"), None, ModelRequestFailed, "answered HTTP 401"),
        (LiveServer(), "giant", ReplayError, "--model giant: the engine at"),
    ],
)
def test_an_engine_that_cannot_be_used_is_an_error(
    server: LiveServer, model: str | None, kind: type[AgentrtError], says: str
) -> None:
    with pytest.raises(kind, match=says) as caught:
        facts(server, model=model)
    assert caught.value.hint


def test_nobody_at_the_address_is_an_error() -> None:
    async def ask() -> None:
        async with open_engine(EngineAddress("http://127.0.0.1:9")):
            pass

    with pytest.raises(EngineUnreachable, match=r"no engine answers at http://127\.0\.0\.1:9"):
        in_virtual_time(ask)


def test_engines_of_one_name_are_told_apart_by_their_address() -> None:
    one = facts(LiveServer(Kind.SGLANG))
    names = [each.name for each in told_apart([one, one, facts(LiveServer(Kind.VLLM))])]
    assert names == ["sglang engine:30000", "sglang engine:30000", "vllm"]
