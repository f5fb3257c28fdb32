"""Compiles the kernels into the user's cache folder, once per source and compiler.

Nothing is compiled when agentrt is installed from a wheel: which compiler there is, and which
OpenMP torch brings, only the machine knows. One object holds the loops for every instruction set.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from agentrt_engine.cache import cache_dir

COMPILER_VARIABLE = "CC"

_FOLDER = Path(__file__).parent
_SOURCES = (_FOLDER / "kernels.c", _FOLDER / "level.h")
_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-fno-math-errno", "-Wno-psabi")
_LIBRARIES = ("-lm",)
_COMPILE_TIMEOUT_S = 300.0
_SHOWN_LINES = 5


class CannotBuild(Exception):
    """The kernels are not available here; the message says why."""


def build_kernels(report: Callable[[], None] = lambda: None) -> Path:
    """The compiled kernels; compiled now if they are not there yet (seconds).

    Args:
        report: called before they are compiled.

    Raises:
        CannotBuild: no compiler, it failed, or others could change the result.
    """
    command = _command()
    folder = cache_dir() / "native"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        built = folder / f"kernels-{_digest(command)}.so"
        with (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not built.exists():
                report()
                _compile(command, built)
    except OSError as problem:
        raise CannotBuild(f"cannot write to {folder}: {problem}") from problem
    _refuse_changeable(built)
    return built


def _command() -> list[str]:
    named = os.environ.get(COMPILER_VARIABLE, "")
    candidates = [shlex.split(named)] if named else [[name] for name in _COMPILERS]
    for candidate in candidates:
        if candidate and shutil.which(candidate[0]):
            return [*candidate, *_FLAGS, *_openmp(candidate)]
    raise CannotBuild(f"no C compiler: {named or ', '.join(_COMPILERS)} not found")


def _openmp(compiler: list[str]) -> list[str]:
    """GCC's OpenMP is the one that torch brings, and its threads are shared. A second OpenMP in the
    process would compete with it: with another compiler the kernels run in one thread."""
    asked = subprocess.run([*compiler, "--version"], capture_output=True, text=True)
    return ["-fopenmp"] if "Free Software Foundation" in asked.stdout else []


def _digest(command: list[str]) -> str:
    content = hashlib.sha256()
    for source in _SOURCES:
        content.update(source.read_bytes())
    machine = (platform.machine(), *platform.libc_ver())
    content.update("\0".join([*command, *machine]).encode())
    return content.hexdigest()[:16]


def _compile(command: list[str], built: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="build-", dir=built.parent) as folder:
        made = Path(folder) / built.name
        try:
            done = subprocess.run(
                [*command, str(_SOURCES[0]), "-o", str(made), *_LIBRARIES],
                capture_output=True,
                text=True,
                timeout=_COMPILE_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise CannotBuild(f"{command[0]} took more than {_COMPILE_TIMEOUT_S:.0f} s") from None
        if done.returncode != 0:
            said = "\n".join(done.stderr.strip().splitlines()[:_SHOWN_LINES])
            raise CannotBuild(f"{command[0]} failed with exit code {done.returncode}: {said}")
        made.chmod(0o500)
        made.replace(built)


def _refuse_changeable(built: Path) -> None:
    """Code is loaded from a file that nobody but this user and root could have put there."""
    for path in (built, *built.parents):
        found = path.stat()
        sticky = path.is_dir() and found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()) or (found.st_mode & stat.S_IWOTH and not sticky):
            raise CannotBuild(f"others can change {path}")
    for path in (built, built.parent):
        if path.stat().st_mode & stat.S_IWGRP or path.is_symlink():
            raise CannotBuild(f"others can change {path}")
