"""Commands of the documentation: run as a reader would, or parsed as the command line would."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cyclopts import App

from agentrt.cli.main import build_app
from tests.docs.blocks import ROOT, Block

_TIMEOUT_S = 120

# `make` is asked what it would do, in the repository and not in the folder of the test.
_PRELUDE = f'make() {{ command make -n -C {shlex.quote(str(ROOT))} "$@" >/dev/null; }}\n'

_ASSIGNMENT = re.compile(r"[A-Z_]+=")
_END_OF_COMMAND = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "<", "2>"})


@dataclass(frozen=True, slots=True)
class Command:
    """One command line and the output that is shown for it; None where none is shown."""

    line: str
    shown: str | None = None


def commands_of(block: Block) -> list[Command]:
    """The commands of a bash or console block; continued lines are joined."""
    if block.language == "bash":
        joined = block.text.replace("\\\n", " ")
        lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
        return [Command(line) for line in lines]
    first, *sessions = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    if first:
        raise ValueError(f"{block}: a console block begins with '$ ' and a command")
    pairs = [session.replace("\\\n", " ").partition("\n") for session in sessions]
    return [Command(line, shown or None) for line, _, shown in pairs]


def run_command(command: Command, folder: Path, environment: Mapping[str, str]) -> None:
    """Run it with bash; it must end well, or as shown, and print what is shown."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _PRELUDE + command.line],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
    )
    printed = f"$ {command.line}\n{done.stdout}"
    shown = command.shown or ""
    assert (done.returncode != 0) is bool(re.search(r"^error: ", shown, re.MULTILINE)), printed
    if command.shown is not None:
        assert re.fullmatch(_pattern(shown), _normal(done.stdout)), f"{printed}\nshown:\n{shown}"


def run_python(code: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Run a program of the documentation; a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=code,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout


def parse_command(command: Command, environment: Mapping[str, str]) -> dict[str, Any]:
    """Check a command without running it: flags of agentrt, targets of make, syntax of bash.

    Returns:
        Arguments of the command of agentrt that were given, by parameter; others have none.

    Raises:
        CycloptsError: agentrt would refuse the command line.
    """
    syntax = subprocess.run(["bash", "-n", "-c", command.line], capture_output=True, text=True)
    assert syntax.returncode == 0, syntax.stderr
    words = shlex.split(command.line)
    variables = dict(word.split("=", 1) for word in itertools.takewhile(_ASSIGNMENT.match, words))
    rest = words[len(variables) :]
    end = next((n for n, word in enumerate(rest) if word in _END_OF_COMMAND), len(rest))
    match [Path(word).name if n == 0 else word for n, word in enumerate(rest[:end])]:
        case ["agentrt", *arguments]:
            with patch.dict(os.environ, variables):
                return parse_arguments(arguments)
        case ["make", *_]:
            run_command(Command(command.line), ROOT, environment)
    return {}


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse a command line of agentrt, with the settings of the current folder.

    Raises:
        CycloptsError: it would be refused.
    """
    app: App = build_app()
    _, common, _ = app.meta.parse_args(arguments, exit_on_error=False, print_error=False)
    tokens = common.arguments.get("tokens", ())
    _, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    return dict(bound.arguments)


def clean_environment(folder: Path, **variables: str) -> dict[str, str]:
    """What a reader's shell has: no settings of ours, but the model where it was fetched."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AGENTRT_", "OTEL_")) or name == "AGENTRT_CACHE_DIR"
    }
    programs = Path(sys.executable).parent
    return {
        **kept,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "AGENTRT_STATE_DIR": str(folder / ".state"),
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }


def _normal(text: str) -> str:
    """Output without what differs from run to run: numbers, and where lines are broken."""
    return " ".join(re.sub(r"\d[\d,.]*", "0", text).split())


def _pattern(shown: str) -> str:
    """What output must match; `…` stands for anything."""
    return ".*".join(re.escape(part) for part in _normal(shown).split("…"))
