"""Content on spans: none unless it is asked for, and then masked and cut."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt import Context, agent, connect, tool
from agentrt.chat import ChatReply
from agentrt.content import CAPTURE_VARIABLE, Content
from agentrt.errors import ModelRequestFailed
from agentrt.secrets import MASK, Secrets
from agentrt.testing import answer, call, says
from tests.support.scripted_engine import INFO, ScriptedEngine
from tests.support.telemetry import Exported, attributes, exported

CANARY = "xyzzy"
KEY = 'pa"ss\\word'

CONTENT = {
    "gen_ai.agent.description",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
}


@tool
async def lookup(word: str) -> str:
    """Look a word up."""
    if word.startswith("bad"):
        raise ValueError(word)
    return f"{word} means {CANARY} {KEY}"


@tool
async def count(number: int) -> int:
    """Count."""
    return number


@agent(tools=[lookup, count])
async def reader(ctx: Context, prompt: str) -> str:
    """You know xyzzy."""
    return await ctx.loop(prompt)


def run(*, fails: bool = False, capture: bool | None = None) -> Exported:
    steps = [
        call("lookup", word=f"{CANARY} {KEY}"),
        call("lookup", word=f"bad {CANARY}"),
        call("count", number=CANARY),
        call(CANARY, a=1),
        says(CANARY, status=400) if fails else answer(CANARY),
    ]

    async def main(url: str) -> None:
        async with connect(
            url, secrets=[KEY], capture_content=capture, **telemetry.providers
        ) as runtime:
            with runtime.workflow("read"):
                await runtime.run(reader, CANARY)

    with ScriptedEngine(steps, info=INFO) as engine, exported() as telemetry:
        if fails:
            with pytest.raises(ModelRequestFailed, match=CANARY):
                anyio.run(main, engine.url)
        else:
            anyio.run(main, engine.url)
        telemetry.metrics()
    return telemetry


@pytest.mark.parametrize("fails", [False, True], ids=["finished", "failed"])
@pytest.mark.parametrize("value", [None, "false", "NO_CONTENT", "EVENT_ONLY"])
def test_nothing_that_is_exported_holds_content(
    monkeypatch: pytest.MonkeyPatch, value: str | None, fails: bool
) -> None:
    if value is not None:
        monkeypatch.setenv(CAPTURE_VARIABLE, value)
    telemetry = run(fails=fails)
    names = {span.name.partition(" ")[0] for span in telemetry.spans}
    assert names == {"invoke_workflow", "invoke_agent", "chat", "execute_tool"}
    assert CANARY not in telemetry.text()
    assert not {key for span in telemetry.spans for key in attributes(span)} & CONTENT


@pytest.mark.parametrize(("value", "capture"), [("true", None), ("SPAN_ONLY", None), ("", True)])
def test_content_is_shown_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, value: str, capture: bool | None
) -> None:
    monkeypatch.setenv(CAPTURE_VARIABLE, value)
    spans = [attributes(span) for span in run(capture=capture).spans]
    chat, used, second_chat = spans[:3]
    system, user = json.loads(chat["gen_ai.input.messages"])
    assert system["role"] == "system"
    assert user == {"role": "user", "parts": [{"type": "text", "content": CANARY}]}
    [reply] = json.loads(chat["gen_ai.output.messages"])
    assert (reply["role"], reply["finish_reason"]) == ("assistant", "stop")
    assert json.loads(used["gen_ai.tool.call.arguments"]) == {"word": f"{CANARY} {MASK}"}
    result = f"{CANARY} {MASK} means {CANARY} {MASK}"
    assert used["gen_ai.tool.call.result"] == result
    *_, shown = json.loads(second_chat["gen_ai.input.messages"])
    [part] = shown["parts"]
    assert (shown["role"], part["type"], part["response"]) == ("tool", "tool_call_response", result)
    assert part["id"] == used["gen_ai.tool.call.id"]
    assert spans[-2]["gen_ai.agent.description"] == "You know xyzzy."


def test_the_parameter_is_stronger_than_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CAPTURE_VARIABLE, "true")
    assert CANARY not in run(capture=False).text()


def test_no_secret_is_shown() -> None:
    text = run(capture=True).text()
    assert CANARY in text
    # As it is, as JSON has it, as JSON within JSON has it, …
    form = KEY
    for _depth in range(5):
        assert form not in text
        form = json.dumps(form)[1:-1]


texts = st.text(max_size=60)
histories = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": texts}),
    max_size=8,
)


@given(histories, st.integers(1, 100))
def test_of_a_long_history_the_latest_is_shown(history: list[dict[str, Any]], limit: int) -> None:
    shown = json.loads(Content(Secrets([]), limit).messages(history))
    assert len(shown) <= len(history)
    left = limit
    for message, full in zip(reversed(shown), reversed(history), strict=False):
        assert message["role"] == full["role"]
        [part] = message["parts"]
        whole = full["content"]
        assert part["content"].startswith(whole[: max(left, 0)])
        left -= len(whole)
    if sum(len(message["content"]) for message in history) <= limit:
        assert [m["parts"][0]["content"] for m in shown] == [m["content"] for m in history]


def test_long_texts_are_cut() -> None:
    content = Content(Secrets([]), 10)
    note = "\n[cut: 10 of 26 characters shown]"
    letters = "abcdefghijklmnopqrstuvwxyz"
    assert content.text(letters) == "abcdefghij" + note
    assert content.arguments({"a": letters}).startswith('{"a": "abc\n[cut: 10 of ')
    reply = ChatReply("", "", letters, "length", 1, 26, None, None)
    assert json.loads(content.reply(reply))[0]["parts"][0]["content"] == "abcdefghij" + note
