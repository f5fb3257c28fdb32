"""The collector refuses what it does not understand, and a false page fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from cyclopts import CycloptsError

from tests.docs.blocks import Block, How, blocks_of
from tests.docs.commands import (
    Command,
    clean_environment,
    commands_of,
    parse_command,
    run_command,
    run_python,
)


def collect(folder: Path, text: str) -> list[Block]:
    page = folder / "page.md"
    page.write_text(text)
    return blocks_of(page)


def test_a_block_has_a_place_a_language_and_a_mark(tmp_path: Path) -> None:
    text = (
        'Text.\n\n<!-- test: scripted ["a", {"b": 1}] -->\n<!-- file: x.py -->\n```python\n1\n```\n'
    )
    assert collect(tmp_path, text) == [
        Block("page.md", 5, "python", "1\n", How.SCRIPTED, ("a", {"b": 1}), "x.py")
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```\nls\n```\n", "page.md:1: a block of language ''"),
        ("\n```sh\nls\n```\n", "page.md:2: a block of language 'sh'"),
        ("```bash\nls\n", "page.md:1: this block is not closed"),
        ("<!-- test: never -->\n```bash\nls\n```\n", "page.md:1: 'never' is not a mark"),
        ("<!-- test: parse -->\n```bash\nls\n```\n", "page.md:1: 'parse' is not a mark"),
        ("<!-- test: engine -->\nText.\n", "page.md:2: a mark stands above this line"),
    ],
)
def test_a_page_that_is_not_understood_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        collect(tmp_path, text)


def test_a_block_inside_a_list_is_read_without_its_indentation(tmp_path: Path) -> None:
    (block,) = collect(tmp_path, "1. Do\n\n   ```python\n   if 1:\n       2\n   ```\n")
    assert block.text == "if 1:\n    2\n"


def test_the_commands_of_a_console_have_their_output(tmp_path: Path) -> None:
    (block,) = collect(tmp_path, "```console\n$ echo 1 \\\n  2\n1 2\n$ true\n```\n")
    assert commands_of(block) == [Command("echo 1    2", "1 2\n"), Command("true")]


@pytest.mark.parametrize(
    "command",
    [
        Command("echo 12.5 s in all", "9 s in all\n"),
        Command("echo one; echo two; echo three", "one\n…\n"),
        Command("echo 'error: no'; false", "error: no\n"),
        Command("make check"),
    ],
)
def test_what_is_shown_is_compared(tmp_path: Path, command: Command) -> None:
    run_command(command, tmp_path, clean_environment(tmp_path))


@pytest.mark.parametrize(
    "command",
    [
        Command("false"),
        Command("echo two", "one\n"),
        Command("echo 'error: no'", "error: no\n"),
        Command("make nothing-of-that-name"),
        Command("agentrt doctor --bogus"),
    ],
)
def test_a_false_command_fails(tmp_path: Path, command: Command) -> None:
    with pytest.raises(AssertionError):
        run_command(command, tmp_path, clean_environment(tmp_path))


def test_a_failing_program_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run_python("import agentrt; agentrt.nothing", tmp_path, clean_environment(tmp_path))


@pytest.mark.parametrize(
    "line", ["agentrt serve --bogus 1", "X=1 .venv/bin/agentrt run | cat", "agentrt -q nothing"]
)
def test_a_command_that_is_only_parsed_must_be_one(tmp_path: Path, line: str) -> None:
    with pytest.raises(CycloptsError):
        parse_command(Command(line), clean_environment(tmp_path))
