"""What a tool call is like, in a few words: for predictions, hints and traces.

    command="cd repo && timeout 60 python -m pytest tests -q"   "pytest"
    command="git log --oneline | head"                          "git log"
    path="src/main.py"                                          ".py"

Only commands and paths are looked at, and of those only the program, its subcommand and the suffix:
a signature says nothing of what a call is about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

#: Longest signature, characters.
LONGEST = 64

_COMMAND_NAMES = frozenset({"command", "cmd", "script", "shell"})
_PATH_NAME = re.compile(r"(^|_)(path|file|filename)$")

#: Where a command ends and another begins.
_NEXT = re.compile(r"&&|\|\||[;|\n]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_WORD = re.compile(r"[A-Za-z][\w-]*$")

#: Programs that only prepare what follows them.
_PREPARING = frozenset({"cd", "export", "source", ".", "set", "pushd", "popd", "true"})

#: Programs that run another one, and how many words of their own come before it besides options.
_RUNNING = {"sudo": 0, "time": 0, "nohup": 0, "env": 0, "exec": 0, "nice": 0, "timeout": 1}

#: Programs whose first word says what they do.
_WITH_SUBCOMMAND = frozenset(
    {"apt", "apt-get", "cargo", "conda", "docker", "dotnet", "git", "go", "helm", "kubectl", "make",
     "mvn", "npm", "npx", "pip", "pip3", "pnpm", "poetry", "uv", "yarn"}
)  # fmt: skip

_PYTHON = re.compile(r"python[\d.]*$")


def call_signature(arguments: Mapping[str, Any]) -> str:
    """Its commands and the suffixes of its paths, in the order of the arguments; empty without."""
    parts = []
    for name, value in arguments.items():
        if not isinstance(value, str):
            continue
        if name in _COMMAND_NAMES:
            parts.append(_of_command(value))
        elif _PATH_NAME.search(name):
            parts.append(PurePosixPath(value).suffix)
    return " ".join(filter(None, parts))[:LONGEST]


def _of_command(command: str) -> str:
    """The first program that does something, with its subcommand."""
    for part in _NEXT.split(command):
        words = _without_wrappers(part.split())
        if not words:
            continue
        program = PurePosixPath(words[0]).name
        if program in _PREPARING:
            continue
        if _PYTHON.match(program):
            if "-m" in words[:-1]:
                return words[words.index("-m") + 1]
            return "python"
        if program in _WITH_SUBCOMMAND:
            return " ".join([program, *filter(_WORD.match, words[1:2])])
        return program
    return ""


def _without_wrappers(words: list[str]) -> list[str]:
    """From the word on that names the program that is meant."""
    own = 0
    wrapped = False
    for at, word in enumerate(words):
        if _ASSIGNMENT.match(word) or (wrapped and word.startswith("-")):
            continue
        if own:
            own -= 1
        elif word in _RUNNING:
            wrapped, own = True, _RUNNING[word]
        else:
            return words[at:]
    return []
