"""Prompts to compare replies on: long contexts, as agents hand them on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec

from agentrt.errors import SettingError


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A context, and what is said after it.

    Attributes:
        messages: in OpenAI's form, rendered with the model's chat template; or
        text: the context as it stands.
        continuation: the reply to score; None: the one that the adapter gives unshared.
    """

    messages: list[dict[str, Any]] | None = None
    text: str | None = None
    continuation: str | None = None


def read_prompts(file: Path) -> list[Prompt]:
    """The prompts of a JSONL file, one a line; empty lines do not count.

    Raises:
        SettingError: the file cannot be read, holds none, or a line is no prompt.
    """
    prompts = []
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise SettingError(f"--prompts {file}: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            prompt = msgspec.json.decode(line, type=Prompt)
        except msgspec.DecodeError as error:
            raise SettingError(
                f"{file}:{number}: not a prompt: {error}",
                hint='a line is like {"text": "…"} or {"messages": […]}',
            ) from error
        if bool(prompt.messages) == bool(prompt.text):
            raise SettingError(f"{file}:{number}: expected either messages or text")
        if prompt.continuation == "":
            raise SettingError(f"{file}:{number}: the continuation is empty")
        prompts.append(prompt)
    if not prompts:
        raise SettingError(f"--prompts {file}: no prompt in it")
    return prompts


_NAMES = ("Ada", "Boris", "Carla", "David", "Elena", "Farid", "Grace", "Hugo", "Irene", "Jonas")
_CITIES = ("Oslo", "Paris", "Rome", "Vienna", "Lisbon", "Madrid", "Berlin", "Dublin", "Prague")
_GOODS = ("lamps", "chairs", "books", "tables", "pens", "bags", "clocks", "cups", "shirts")
_FILES = ("parser", "cache", "server", "client", "queue", "worker", "index", "report", "session")
_STEPS = ("planned", "written", "reviewed", "tested", "merged", "reverted")

#: Lines of a context: 500 to 800 tokens.
_LINES = 40


def built_in_prompts() -> list[Prompt]:
    """Six conversations about the work of others, which always are the same."""
    chance = random.Random("agentrt lora divergence")
    prompts = []
    for _ in range(3):
        orders = "\n".join(_order(chance) for _ in range(_LINES))
        prompts.append(_asked(f"Orders of this week:\n{orders}\n\nNow this one: {_order(chance)}"))
        log = "\n".join(_change(chance, number) for number in range(1, _LINES + 1))
        question = "What is the state of the work, and what should be done next?"
        prompts.append(_asked(f"Log of the project:\n{log}\n\n{question}"))
    return prompts


def _asked(text: str) -> Prompt:
    return Prompt(messages=[{"role": "user", "content": text}])


def _order(chance: random.Random) -> str:
    name, city, goods = (chance.choice(words) for words in (_NAMES, _CITIES, _GOODS))
    return f"{name} from {city} ordered {chance.randint(2, 49)} {goods}."


def _change(chance: random.Random, number: int) -> str:
    name, file, step = (chance.choice(words) for words in (_NAMES, _FILES, _STEPS))
    return f"{number}. {name}: change of {file}.py was {step}, {chance.randint(1, 99)} lines"
