"""Our chat template: SmolLM2's own for plain chats, plus tools, and prefixes stay prefixes."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

Message = dict[str, Any]

OURS = files("agentrt_engine.models").joinpath("chat_template.jinja").read_text("utf-8")
#: `tokenizer.chat_template` of the GGUF file.
BUNDLED = (Path(__file__).parent / "data/smollm2_bundled.jinja").read_text("utf-8")

FUNCTION: Message = {
    "name": "grep",
    "description": "Search <files> for a 'pattern'.",
    "parameters": {"type": "object", "properties": {"pattern": {"type": "string"}}},
}
GREP: Message = {"type": "function", "function": FUNCTION}


def render(
    template: str,
    messages: list[Message],
    *,
    tools: list[Message] | None = None,
    prompt: bool = False,
) -> str:
    """As transformers renders chat templates."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    rendered: str = environment.from_string(template).render(
        messages=messages, tools=tools, add_generation_prompt=prompt
    )
    return rendered


def assistant_text(rendered: str) -> str:
    return rendered.split("<|im_start|>assistant\n")[1].split("<|im_end|>")[0]


texts = st.text(max_size=30)
roles = st.sampled_from(["user", "assistant", "tool"])
messages = st.builds(lambda role, content: {"role": role, "content": content}, roles, texts)
systems = st.builds(lambda content: [{"role": "system", "content": content}], texts)
chats = st.builds(
    lambda system, rest: system + rest,
    st.just([]) | systems,
    st.lists(messages, min_size=1, max_size=6),
)


@given(chats, st.booleans())
def test_plain_chats_render_as_the_bundled_template_does(chat: list[Message], prompt: bool) -> None:
    assert render(OURS, chat, prompt=prompt) == render(BUNDLED, chat, prompt=prompt)


@given(chats, texts, messages, st.booleans())
def test_a_reply_and_what_follows_only_append(
    chat: list[Message], reply: str, following: Message, with_tools: bool
) -> None:
    tools = [GREP] if with_tools else None
    before = render(OURS, chat, tools=tools, prompt=True) + reply
    after = [*chat, {"role": "assistant", "content": reply}, following]
    assert render(OURS, after, tools=tools, prompt=True).startswith(before)


def test_tools_are_listed_in_the_system_message() -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    rendered = render(OURS, chat, tools=[GREP])
    system, rest = rendered.split("<|im_end|>\n", 1)
    assert system.startswith("<|im_start|>system\nBe brief.\n\n")
    assert json.dumps(FUNCTION) in system
    assert '{"name": <tool name>, "arguments": <object of arguments>}' in system
    assert rest == "<|im_start|>user\nHi<|im_end|>\n"


def test_tools_without_a_system_message_follow_the_default_one() -> None:
    rendered = render(OURS, [{"role": "user", "content": "Hi"}], tools=[GREP])
    plain = render(OURS, [{"role": "user", "content": "Hi"}])
    assert rendered.startswith(plain.split("<|im_end|>")[0])


def test_a_bare_function_is_a_tool_too() -> None:
    chat = [{"role": "user", "content": "Hi"}]
    assert render(OURS, chat, tools=[FUNCTION]) == render(OURS, chat, tools=[GREP])


def test_tool_calls_render_in_the_reply_format() -> None:
    arguments = {"pattern": "a'<b>é"}
    call = {"id": "1", "type": "function", "function": {"name": "grep", "arguments": arguments}}
    chat: list[Message] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2 matches", "tool_call_id": "1"},
    ]
    rendered = render(OURS, chat, tools=[GREP])
    said = {"name": "grep", "arguments": arguments}
    assert json.loads(assistant_text(rendered)) == said
    assert rendered.endswith("<|im_start|>tool\n2 matches<|im_end|>\n")

    call["function"] = {"name": "grep", "arguments": json.dumps(arguments)}
    assert json.loads(assistant_text(render(OURS, chat))) == said


def test_several_calls_stand_on_lines_of_their_own() -> None:
    call = {"function": {"name": "grep", "arguments": {}}}
    chat = [{"role": "assistant", "content": "Look:", "tool_calls": [call, call]}]
    line = '{"name": "grep", "arguments": {}}'
    assert f"Look:\n{line}\n{line}<|im_end|>" in render(OURS, chat)


def test_content_in_parts_renders_its_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    in_parts = render(OURS, [{"role": "user", "content": parts}])
    assert in_parts == render(OURS, [{"role": "user", "content": "ab"}])
