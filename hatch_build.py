"""Compiles the simulator into the wheel where AGENTRT_COMPILE=1; otherwise does nothing.

    AGENTRT_COMPILE=1 pip install .

mypyc makes an extension module of each module in `COMPILED`. The sources stay in the wheel
beside them; Python imports the extension. Policies stay plain Python, so that one is a file.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "AGENTRT_COMPILE"

#: What is compiled, below `engine/agentrt_engine`.
COMPILED = (
    "simulated/*.py",
    "policy/durations.py",
    "policy/empirical.py",
    "policy/histogram.py",
)
#: What is not, of that: nothing in them takes time.
PLAIN = ("simulated/__init__.py", "simulated/compiled.py", "simulated/profile.py")

BUILD_REQUIREMENTS = ["mypy>=2.4,<3", "setuptools>=70"]
#: An own configuration of mypy must not change the result, nor which packages are installed.
MYPYC = ("mypyc", "--config-file=", "--ignore-missing-imports")
SHOWN_LINES = 30


class CompiledSimulator(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the extension modules to a wheel."""

    def dependencies(self) -> list[str]:
        return BUILD_REQUIREMENTS if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not _wanted():
            return
        if version == "editable":
            # Python would import the extensions and silently ignore edited sources.
            self.app.abort(
                f"error: {VARIABLE}=1: an editable installation is never compiled\n"
                f"hint: unset {VARIABLE}, or install without --editable"
            )
        self._folder = tempfile.TemporaryDirectory(prefix="agentrt-compile-")
        try:
            made = compile_simulator(Path(self.root) / "engine", Path(self._folder.name))
        except CannotCompile as problem:
            self._folder.cleanup()
            self.app.abort(f"error: {VARIABLE}=1: {problem}")
        build_data["force_include"].update(made)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if _wanted():
            self._folder.cleanup()


class CannotCompile(Exception):
    """There is no compiler, or it failed; says which and what to do."""


def compile_simulator(engine: Path, folder: Path) -> dict[str, str]:
    """Compile a copy of the sources.

    Args:
        engine: folder of the package `agentrt_engine`.
        folder: empty; the extension modules are made there.

    Returns:
        path of each extension module → its path in the wheel.

    Raises:
        CannotCompile: no compiler, no headers of Python, or a module that does not compile.
    """
    _check_compiler()
    package = folder / "agentrt_engine"
    shutil.copytree(
        engine / "agentrt_engine", package, ignore=shutil.ignore_patterns("__pycache__", "*.so")
    )
    sources = {source for pattern in COMPILED for source in package.glob(pattern)}
    sources -= {package / plain for plain in PLAIN}
    done = subprocess.run(
        [sys.executable, "-m", *MYPYC, *sorted(str(path.relative_to(folder)) for path in sources)],
        cwd=folder,
        env=os.environ | {"MYPYC_OPT_LEVEL": "3", "MYPYC_DEBUG_LEVEL": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    # The code of all modules is one library at the top, which each extension module loads.
    made = [*folder.glob(f"*{suffix}"), *package.rglob(f"*{suffix}")]
    if done.returncode or len(made) != len(sources) + 1:
        tail = "\n".join(done.stdout.splitlines()[-SHOWN_LINES:])
        raise CannotCompile(
            f"the simulator does not compile (mypyc, exit code {done.returncode}):\n{tail}\n"
            f"hint: unset {VARIABLE} to install it as plain Python, with the same results"
        )
    return {str(path): path.relative_to(folder).as_posix() for path in made}


def _check_compiler() -> None:
    """Say at once what the compilation would say after half a minute."""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    compiler = shlex.split(command)[0]
    if shutil.which(compiler) is None:
        raise CannotCompile(
            f"there is no C compiler {compiler!r}\n"
            f"hint: install one (Debian: build-essential), name one with CC=, or unset {VARIABLE}"
        )
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        raise CannotCompile(
            f"there is no {header}\n"
            f"hint: install the headers of Python (Debian: python3-dev), or unset {VARIABLE}"
        )


def _wanted() -> bool:
    return os.environ.get(VARIABLE) == "1"
