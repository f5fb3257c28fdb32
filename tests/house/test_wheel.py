"""The built wheel, in an environment that holds nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from agentrt.version import __version__
from agentrt_engine.device import detect_device
from tests.support.light_environment import ROOT, LightEnvironment

PACKAGES = ("agentrt", "agentrt_engine", "agentrt_pytest", "agentrt_tools")


def test_the_wheel_holds_the_packages_their_data_and_nothing_else(light: LightEnvironment) -> None:
    with zipfile.ZipFile(light.wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names} == {
        *PACKAGES,
        f"agentrt-{__version__}.dist-info",
    }
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert "agentrt_engine/models/chat_template.jinja" in names
    sources = {
        path.relative_to(base).as_posix()
        for base in (ROOT, ROOT / "engine", ROOT / "tools")
        for package in PACKAGES
        for path in (base / package).rglob("*.py")
    }
    assert sources <= names


def test_the_command_answers(light: LightEnvironment) -> None:
    version = light.run("agentrt", "--version")
    assert (version.returncode, version.stdout) == (0, f"agentrt {__version__}\n")
    shown = light.run("agentrt", "--help")
    assert shown.returncode == 0
    assert "doctor" in shown.stdout


def test_the_packages_import_without_an_engine(light: LightEnvironment) -> None:
    script = (
        "import sys, agentrt, agentrt.cli.main, agentrt_engine, agentrt_tools\n"
        "from importlib.resources import files\n"
        "assert files('agentrt_engine.models').joinpath('chat_template.jinja').read_text()\n"
        "assert not {'torch', 'sglang'} & set(sys.modules)\n"
        "print(agentrt.__file__)"
    )
    imported = light.run("python", "-W", "error", "-c", script)
    assert imported.returncode == 0, imported.stderr
    assert Path(imported.stdout.strip()).is_relative_to(light.folder)


def test_the_doctor_says_what_is_missing_and_how_to_mend_it(light: LightEnvironment) -> None:
    device = detect_device()
    asked = light.run("agentrt", "doctor", "--json", "-")
    assert asked.returncode == 1
    diagnosis = json.loads(asked.stdout)
    assert diagnosis["usable"] is False
    mends = {check["part"]: check["mend"] for check in diagnosis["checks"]}
    assert mends["engine"] == f"agentrt engine install --device {device}"
    assert mends["model"] == "agentrt models fetch"


def test_a_model_cannot_be_fetched_before_the_engine(light: LightEnvironment) -> None:
    fetched = light.run("agentrt", "models", "fetch")
    assert fetched.returncode == 1
    assert "hint: agentrt engine install" in fetched.stderr


@pytest.mark.parametrize("python", ["3.10", "3.13"])
def test_other_pythons_are_refused(light: LightEnvironment, python: str, tmp_path: Path) -> None:
    options = ["--no-deps", "--only-binary=:all:", f"--python-version={python}"]
    refused = light.run(
        "python", "-m", "pip", "download", *options, f"--dest={tmp_path}", str(light.wheel)
    )
    assert refused.returncode != 0
    assert f"requires a different Python: {python}.0 not in" in refused.stderr


@pytest.mark.parametrize("files", [(), ("tests", "examples")], ids=["source", "tests"])
def test_mypy_gives_the_same_result_with_and_without_an_engine(
    light_for_developers: LightEnvironment, files: tuple[str, ...], tmp_path: Path
) -> None:
    def mypy(python: str | Path, cache: str) -> str:
        command = [python, "-m", "mypy", f"--cache-dir={tmp_path / cache}", *files]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout

    with_engine = mypy(sys.executable, "full")
    assert with_engine.startswith("Success")
    assert mypy(light_for_developers.python, "light") == with_engine
