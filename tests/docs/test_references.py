"""What the documentation points to exists: files, headings, names, commands, messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentrt
from agentrt import errors
from agentrt.cli.main import build_app
from agentrt_engine.policy import policy_names
from agentrt_engine.requirements import CPU_TORCH_VERSION, SGLANG_VERSION
from tests.docs.blocks import ROOT, pages, prose_of

PAGES = pages()
OPERATIONS = ROOT / "docs/operations.md"

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FOLDERS = ("agentrt/", "engine/", "tools/", "examples/", "tests/", "traces/", "docs/")

_MADE_BY_RUNS = {"traces/runs/"}

#: Letters that a text of the source must have to be told from others; a mere `…: …` has not.
_MIN_LETTERS = 8

#: Raised for a function that is written wrongly: they name the function, the line and the cure.
_NOT_LISTED = {"DefinitionError"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+://", target):
            continue
        file, _, heading = target.partition("#")
        found = (page.parent / file) if file else page
        assert found.exists(), target
        if heading:
            assert heading in _anchors(found), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = {code for code in _CODE.findall(prose_of(page)) if code.startswith(_FOLDERS)}
    files = {path for path in named if " " not in path and "NAME" not in path} - _MADE_BY_RUNS
    assert not {path for path in files if not (ROOT / path).exists()}


@pytest.mark.parametrize("name", agentrt.__all__)
def test_every_export_is_in_the_guide(name: str) -> None:
    assert re.search(rf"\b{name}\b", (ROOT / "docs/sdk.md").read_text("utf-8"))


@pytest.mark.parametrize("name", sorted({*errors.__all__} - {"AgentrtError"}))
def test_every_error_is_in_the_guide(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/sdk.md").read_text("utf-8")


def test_every_command_is_in_the_table_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for command in _commands():
        assert f"| `agentrt {command}" in text, command


@pytest.mark.parametrize("name", policy_names())
def test_every_policy_has_a_section(name: str) -> None:
    assert f"## `{name}`" in (ROOT / "docs/policies.md").read_text("utf-8")


def test_the_versions_are_those_that_are_installed() -> None:
    text = OPERATIONS.read_text("utf-8")
    assert f"SGLang {SGLANG_VERSION}" in text
    assert f"torch {CPU_TORCH_VERSION}" in text


def test_every_message_in_the_tables_exists() -> None:
    patterns = [pattern for pattern, _ in _texts()]
    unknown = [text for text in _messages() if not any(_fits(text, p) for p in patterns)]
    assert not unknown


def test_every_error_message_is_in_the_tables() -> None:
    listed = _messages()
    missing = [
        pattern
        for pattern, error in _texts()
        if error is not None and not any(_fits(text, pattern) for text in listed)
    ]
    assert not missing


def _anchors(page: Path) -> set[str]:
    """Names of the headings, as web pages of repositories make them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _commands() -> Iterator[str]:
    app = build_app()
    for name in app:
        if not name.startswith("-"):
            below = [inner for inner in app[name] if not inner.startswith("-")]
            yield from (f"{name} {inner}" for inner in below) if below else [name]


def _messages() -> list[str]:
    """First cells of the tables under "Messages" in the page on operations."""
    section = OPERATIONS.read_text("utf-8").partition("\n## Messages\n")[2].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def _texts() -> Iterator[tuple[str, str | None]]:
    """The first line of every text in the source, with `…` for what is filled in.

    With it comes the error it is raised in, if it is.
    """
    for package in ("agentrt", "engine", "tools"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            raised = {
                id(node.args[0]): node.func.id
                for node in ast.walk(tree)
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in set(errors.__all__) - _NOT_LISTED
                and node.args
            }
            for node in ast.walk(tree):
                text = (_text(node) or "").partition("\n")[0]
                if len(text.replace("…", "")) >= _MIN_LETTERS:
                    yield text, raised.get(id(node))


def _text(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) or "…" for value in values)
        case ast.BinOp(left=left, op=ast.Add()):
            beginning = _text(left)
            return None if beginning is None else f"{beginning}…"
    return None


def _fits(shown: str, pattern: str) -> bool:
    """Whether a message as shown can be the filled-in text of the source."""
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), shown, re.DOTALL))
