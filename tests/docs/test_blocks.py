"""Every command and every program of the documentation works."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agentrt.testing import says
from agentrt_engine.sglang.server import EngineProcess
from tests.docs.blocks import ROOT, Block, How, blocks_of, pages
from tests.docs.commands import (
    clean_environment,
    commands_of,
    parse_arguments,
    parse_command,
    run_command,
    run_python,
)
from tests.support.scripted_engine import ScriptedEngine

BLOCKS = [block for page in pages() for block in blocks_of(page)]

PROGRAMS = [block for block in BLOCKS if block.language in ("bash", "console", "python")]


def of_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader stands: a folder with the examples and the traces."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "traces").mkdir()
    for trace in (ROOT / "traces").glob("*.jsonl*"):
        (tmp_path / "traces" / trace.name).symlink_to(trace)
    return tmp_path


@contextmanager
def engine_for(block: Block, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The variables that point to the engine a block asks for."""
    match block.how:
        case How.ENGINE:
            engine: EngineProcess = request.getfixturevalue("engine")
            yield {"AGENTRT_URL": engine.url}
        case How.SCRIPTED:
            texts = [r if isinstance(r, str) else json.dumps(r) for r in block.replies]
            with ScriptedEngine([says(text) for text in texts]) as scripted:
                yield {"AGENTRT_URL": scripted.url}
        case _:
            yield {}


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_runs(block: Block, folder: Path, request: pytest.FixtureRequest) -> None:
    for other in BLOCKS:
        if other.file is not None and other.page in ("README.md", block.page):
            (folder / other.file).write_text(other.text)
    if block.language == "python" and block.how is How.PARSE:
        compile(block.text, str(block), "exec")
        return
    with engine_for(block, request) as variables:
        environment = clean_environment(folder, **variables)
        if block.language == "python":
            run_python(block.text, folder, environment)
            return
        for command in commands_of(block):
            if block.how is How.PARSE:
                parse_command(command, environment)
            else:
                run_command(command, folder, environment)


@pytest.mark.parametrize("block", of_language("toml"), ids=str)
def test_a_settings_file_is_accepted(
    block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "agentrt.toml").write_text(block.text)
    monkeypatch.chdir(folder)
    for command in _commands_in(tomllib.loads(block.text)):
        parse_arguments([*command, *(["agent.py"] if command == ["run"] else [])])


def test_the_settings_of_the_example_come_from_where_it_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = [block for block in BLOCKS if block.page == "docs/operations.md"]
    number = next(n for n, block in enumerate(page) if block.language == "toml")
    settings, commands = page[number : number + 2]
    (folder / "agentrt.toml").write_text(settings.text)
    monkeypatch.chdir(folder)
    parsed = [parse_command(c, clean_environment(folder)) for c in commands_of(commands)]
    assert [arguments["port"] for arguments in parsed] == [8000, 9000, 9500]
    assert {arguments["kv_tokens"] for arguments in parsed} == {16_384}


@pytest.mark.parametrize("block", of_language("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    try:
        json.loads(block.text)
    except ValueError:
        for line in block.text.splitlines():
            json.loads(line)


def _commands_in(settings: dict[str, Any]) -> Iterator[list[str]]:
    """Paths of the commands that a settings file speaks of."""
    tables = {name: value for name, value in settings.items() if isinstance(value, dict)}
    if len(tables) < len(settings):
        yield []
    for name, table in tables.items():
        for path in _commands_in(table):
            yield [name, *path]
