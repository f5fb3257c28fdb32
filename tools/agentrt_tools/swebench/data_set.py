"""Where instances come from: files of rows, data sets of a hub, and our own recipes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from agentrt.errors import SettingError
from agentrt_tools.bench.spread import spread
from agentrt_tools.swebench.instance import as_instance
from agentrt_tools.swebench.library import Task
from agentrt_tools.swebench.recipe import Recipe

#: Our own instances, which need no container.
OWN = "own"

#: Short names of data sets.
_ALIASES = {"lite": "SWE-bench/SWE-bench_Lite", "verified": "SWE-bench/SWE-bench_Verified"}

_RECIPES = "recipes.jsonl"

#: Names of instances are names of folders and of images.
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def load_tasks(data: str, split: str) -> list[Task]:
    """All instances of a data set.

    Args:
        data: `own`; a file of rows or recipes in JSON, JSON lines or Parquet; or the name of a data
            set of the Hugging Face hub.
        split: of a data set.

    Raises:
        SettingError: it cannot be read, or holds something else.
    """
    if data == OWN:
        return _tasks(_RECIPES, _lines(files(__package__).joinpath(_RECIPES).read_text()))
    path = Path(data)
    try:
        match path.suffix:
            case ".jsonl":
                return _tasks(data, _lines(path.read_text()))
            case ".json":
                return _tasks(data, _rows(json.loads(path.read_text())))
            case ".parquet":
                return _tasks(data, _parquet(path))
    except OSError as error:
        raise SettingError(f"cannot read --data {data}: {error.strerror or error}") from error
    except ValueError as error:
        raise SettingError(f"cannot read --data {data}: {error}") from error
    return _tasks(data, _hub(_ALIASES.get(data.lower(), data), split))


def choose(tasks: Sequence[Task], names: Sequence[str], limit: int | None) -> list[Task]:
    """The named instances, or all; of those so many, taken evenly.

    Raises:
        SettingError: there is no instance of a name.
    """
    by_name = {task.instance_id: task for task in tasks}
    for name in names:
        if name not in by_name:
            raise SettingError(
                f"there is no instance {name!r} in the data set",
                hint="agentrt bench swebench --list names those there are",
            )
    chosen = [by_name[name] for name in dict.fromkeys(names)] if names else list(tasks)
    return spread(chosen, limit)


def _tasks(source: str, rows: Iterable[Any]) -> list[Task]:
    tasks = [_task(source, number, row) for number, row in enumerate(rows, 1)]
    seen: set[str] = set()
    for task in tasks:
        if task.instance_id in seen:
            raise SettingError(f"--data {source}: {task.instance_id} is there twice")
        seen.add(task.instance_id)
    if not tasks:
        raise SettingError(f"--data {source}: there is no instance in it")
    return tasks


def _task(source: str, number: int, row: Any) -> Task:
    try:
        if not isinstance(row, Mapping):
            raise ValueError(f"expected an object, got {type(row).__name__}")
        task = msgspec.convert(row, type=Recipe) if "before" in row else as_instance(row)
        if not _NAME.fullmatch(task.instance_id):
            raise ValueError(
                f"instance_id is {task.instance_id!r}, expected letters, digits, _ . -"
            )
        return task
    except ValueError as error:
        raise SettingError(f"--data {source}: row {number} is no instance: {error}") from error


def _lines(text: str) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise ValueError(f"line {number} is no JSON: {error}") from error
    return rows


def _rows(document: Any) -> list[Any]:
    """A list of rows, or an object of them by their names."""
    rows = list(document.values()) if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise ValueError(f"expected a list of rows, got {type(rows).__name__}")
    return rows


def _parquet(path: Path) -> list[Any]:
    try:
        from pyarrow.parquet import read_table
    except ImportError as error:
        hint = "pip install pyarrow"
        raise SettingError(
            f"--data {path}: Parquet takes the package pyarrow", hint=hint
        ) from error
    rows: list[Any] = read_table(path).to_pylist()
    return rows


def _hub(name: str, split: str) -> list[Any]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise SettingError(
            f"--data {name}: expected {OWN}, a .json, .jsonl or .parquet file, or a data set of "
            "the Hugging Face hub, which takes the package datasets",
            hint="pip install datasets",
        ) from error
    try:
        return list(load_dataset(name, split=split))
    except Exception as error:  # whatever a hub, a network or a cache may raise
        raise SettingError(f"cannot read --data {name}: {error}") from error
