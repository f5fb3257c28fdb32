"""A virtual environment that holds the built wheel of agentrt and nothing heavy."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class LightEnvironment:
    """The environment.

    Attributes:
        wheel: what was installed.
        folder: of the environment.
        home: stands for the user's home and cache; empty at first.
    """

    wheel: Path
    folder: Path
    home: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin/python"

    def run(
        self, program: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, away from the source tree."""
        variables = {
            **{name: value for name, value in os.environ.items() if not _ours(name)},
            "AGENTRT_CACHE_DIR": str(self.home / "cache"),
            "AGENTRT_STATE_DIR": str(self.home / "state"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            **(env or {}),
        }
        return subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=self.home,
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
        )


def make_light_environment(base: Path, extra: str = "") -> LightEnvironment:
    """Build the wheel and install it with the versions of its dependencies that run here.

    Args:
        base: folder for wheel and environment.
        extra: one of the distribution's extras to install as well.
    """
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", f"--outdir={base}")
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True, text=True)
    (wheel,) = base.glob("agentrt-*.whl")
    environment = LightEnvironment(wheel, base / "venv", base / "home")
    environment.home.mkdir()
    subprocess.run([sys.executable, "-m", "venv", environment.folder], check=True)
    constraints = base / "constraints.txt"
    constraints.write_text(
        "".join(
            f"{found.name}=={found.version}\n"
            for found in importlib.metadata.distributions()
            if found.name != "agentrt"
        )
    )
    installed = environment.run(
        "python",
        "-m",
        "pip",
        "install",
        "-qq",
        f"--constraint={constraints}",
        f"{wheel}[{extra}]" if extra else str(wheel),
    )
    assert installed.returncode == 0, installed.stderr
    return environment


def _ours(variable: str) -> bool:
    return variable == "PYTHONPATH" or variable.startswith("AGENTRT_")
