"""Tasks that small adapters learn: sentences in, a fixed form out; every item from a seed."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from enum import StrEnum

_NAMES = (
    "Ada", "Boris", "Carla", "David", "Elena", "Farid", "Grace", "Hugo", "Irene", "Jonas",
    "Karin", "Leon", "Mara", "Nils", "Olga", "Pavel", "Rosa", "Simon", "Tara", "Victor",
)  # fmt: skip
_CITIES = (
    "Oslo", "Paris", "Rome", "Vienna", "Lisbon", "Madrid", "Berlin", "Dublin", "Prague", "Athens",
)  # fmt: skip
_GOODS = (
    "lamps", "chairs", "books", "tables", "pens", "bags", "clocks", "cups", "shirts", "bikes",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PAPERS = ("report", "invoice", "letter", "budget", "contract", "photo", "map", "plan")

#: Of each task there are at least three times as many.
MAX_ITEMS = 20_000


class Task(StrEnum):
    """What an adapter is taught.

    Attributes:
        EXTRACT: the fields of an order, as one JSON object.
        COMMAND: an instruction, as a command with options.
    """

    EXTRACT = "extract"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Item:
    """What a user says and what the model is to reply."""

    prompt: str
    reply: str


def make_items(task: Task, seed: int, count: int, *, held_out: bool = False) -> list[Item]:
    """Items of a task, no two alike; the same for the same arguments.

    Args:
        count: at most `MAX_ITEMS`.
        held_out: items that training never shows: those whose number of things, or hour, is
            divisible by four.
    """
    chance = random.Random(f"{task}:{seed}:{held_out}")
    make = {Task.EXTRACT: _order, Task.COMMAND: _instruction}[task]
    items: dict[Item, None] = {}
    while len(items) < count:
        item, number = make(chance)
        if (number % 4 == 0) == held_out:
            items[item] = None
    return list(items)


def _order(chance: random.Random) -> tuple[Item, int]:
    name, city, goods = (chance.choice(words) for words in (_NAMES, _CITIES, _GOODS))
    count = chance.randint(2, 49)
    prompt = chance.choice(
        (
            f"{name} from {city} ordered {count} {goods}.",
            f"An order of {count} {goods} came from {name} in {city}.",
            f"Please ship {count} {goods} to {name}, {city}.",
        )
    )
    fields = {"name": name, "city": city, "item": goods, "count": count}
    return Item(prompt, json.dumps(fields)), count


def _instruction(chance: random.Random) -> tuple[Item, int]:
    name, paper, day = (chance.choice(words) for words in (_NAMES, _PAPERS, _DAYS))
    hour = chance.randint(1, 23)
    prompt = chance.choice(
        (
            f"Send the {paper} to {name} on {day} at {hour}.",
            f"On {day} at {hour}, {name} should get the {paper}.",
            f"{name} needs the {paper} by {hour} on {day}.",
        )
    )
    return Item(prompt, f"send --file {paper} --to {name} --when {day[:3].lower()}:{hour}"), hour
