"""Entries of the benchmark, as the package ships them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agentrt.schema import Schema
from agentrt_tools.bench.spread import spread

MULTI_TURN = (
    "multi_turn_base",
    "multi_turn_miss_func",
    "multi_turn_miss_param",
    "multi_turn_long_context",
)

#: What the user says where functions come in that were held back: the words of the package.
MORE_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"

#: Functions of each tool back end: class → file.
_FUNCTION_FILES = {
    "GorillaFileSystem": "gorilla_file_system.json",
    "MathAPI": "math_api.json",
    "MessageAPI": "message_api.json",
    "TwitterAPI": "posting_api.json",
    "TicketAPI": "ticket_api.json",
    "TradingBot": "trading_bot.json",
    "TravelAPI": "travel_booking.json",
    "VehicleControlAPI": "vehicle_control.json",
    "MemoryAPI_kv": "memory_kv.json",
    "MemoryAPI_rec_sum": "memory_rec_sum.json",
    "MemoryAPI_vector": "memory_vector.json",
    "WebSearchAPI": "web_search.json",
}

#: The package's names of types that JSON schema calls otherwise.
_TYPES = {"dict": "object", "float": "number", "tuple": "array"}


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a model may call.

    Attributes:
        parameters: JSON schema of the arguments, an object.
    """

    name: str
    description: str
    parameters: Schema


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What the user says, and which functions there are more from here on."""

    prompt: str
    added: tuple[Function, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One task: a user with several requests, the functions, and what should be called.

    Attributes:
        entry_id: `multi_turn_base_0`.
        turns: of the user, in order.
        functions: that there are from the beginning.
        reference: calls of the reference solution by turn, as Python source.
        raw: as the package has it, for its back ends and its checker.
        after: entries that have to end before this one begins.
        answers: of which the last answer has to contain one; None: calls are checked, if anything.
    """

    entry_id: str
    category: str
    turns: tuple[UserTurn, ...]
    functions: tuple[Function, ...]
    reference: tuple[tuple[str, ...], ...]
    raw: dict[str, Any]
    after: tuple[str, ...] = ()
    answers: tuple[str, ...] | None = None

    @property
    def is_scored(self) -> bool:
        """Whether there is anything to check; otherwise it only prepares others."""
        return bool(self.reference) or self.answers is not None

    @property
    def is_agentic(self) -> bool:
        """Whether its prompt is the package's, and its last answer what counts."""
        return not self.reference


def load_multi_turn(data: Path, category: str) -> list[Entry]:
    """All entries of a category of `MULTI_TURN`, in the package's order.

    Args:
        data: folder `data` of the package.
    """
    file = f"BFCL_v4_{category}.json"
    answers = {row["id"]: row["ground_truth"] for row in rows(data / "possible_answer" / file)}
    return [_entry(data, category, row, answers[row["id"]]) for row in rows(data / file)]


def choose(entries: list[Entry], limit: int | None) -> list[Entry]:
    """At most so many scored entries, evenly over all, and those that they come after."""
    scored = spread([entry for entry in entries if entry.is_scored], limit)
    wanted = {entry.entry_id for entry in scored}.union(*(entry.after for entry in scored))
    return [entry for entry in entries if entry.entry_id in wanted]


def _entry(data: Path, category: str, row: dict[str, Any], reference: list[list[str]]) -> Entry:
    functions = {
        function.name: function
        for back_end in row["involved_classes"]
        for function in functions_of(data, back_end)
    }
    held: dict[str, list[str]] = row.get("missed_function", {})
    turns = []
    for at, messages in enumerate(row["question"]):
        added = tuple(functions[name] for name in held.get(str(at), ()))
        turns.append(UserTurn(text_of(messages) or MORE_FUNCTIONS, added))
    held_back = {name for names in held.values() for name in names}
    return Entry(
        entry_id=row["id"],
        category=category,
        turns=tuple(turns),
        functions=tuple(each for each in functions.values() if each.name not in held_back),
        reference=tuple(tuple(calls) for calls in reference),
        raw={name: row[name] for name in ("id", "initial_config", "involved_classes")},
    )


@cache
def functions_of(data: Path, back_end: str) -> tuple[Function, ...]:
    """The functions of a tool back end."""
    path = data / "multi_turn_func_doc" / _FUNCTION_FILES[back_end]
    return tuple(
        Function(row["name"], row["description"], _json_schema(row["parameters"]))
        for row in rows(path)
    )


def _json_schema(node: Any) -> Any:
    """The package's description of a type, as JSON schema."""
    if isinstance(node, list):
        return [_json_schema(each) for each in node]
    if not isinstance(node, dict):
        return node
    schema = {key: _json_schema(value) for key, value in node.items()}
    kind = node.get("type")
    if isinstance(kind, str):
        schema["type"] = _TYPES.get(kind, kind)
    return schema


def text_of(messages: list[dict[str, str]]) -> str:
    """What a user says in one turn."""
    return "\n".join(message["content"] for message in messages)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file of the package."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
