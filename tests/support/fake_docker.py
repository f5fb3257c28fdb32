"""What our use of docker and podman amounts to, with bubblewrap: a program for tests.

The folder in FAKE_DOCKER has `images/NAME/` with the content of /testbed, `containers/`, and
`calls`, which notes each command line.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

SCRIPT = f'#!/bin/sh\nexec {sys.executable} {__file__} "$@"\n'


def install(folder: Path, name: str) -> Path:
    """A folder for PATH with the program of that name, and the state in `folder`."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (programs / name).write_text(SCRIPT)
    (programs / name).chmod(0o755)
    for each in ("images", "containers"):
        (folder / each).mkdir()
    return programs


def main(state: Path, arguments: list[str]) -> None:
    """One command line."""
    with (state / "calls").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    command, *rest = arguments
    options: dict[str, list[str]] = {}
    while rest and rest[0].startswith("--"):
        name, _, value = rest.pop(0).partition("=")
        options.setdefault(name, []).append(value)
    match command:
        case "run":
            image = state / "images" / rest[0].replace("/", "_")
            if not image.is_dir():
                sys.exit(f"Unable to find image '{rest[0]}' locally")
            container = state / "containers" / options["--name"][0]
            shutil.copytree(image, container / "testbed", symlinks=True)
            (container / "tmp").mkdir()
            sys.stdout.write(options["--name"][0] + "\n")
        case "exec":
            container = state / "containers" / rest.pop(0)
            os.execvpe("bwrap", [*_confined(container, options), "--", *rest], _clean(options))
        case "cp":
            name, _, path = rest[1].partition(":")
            shutil.copy(rest[0], state / "containers" / name / path.lstrip("/"))
        case "rm":
            shutil.rmtree(state / "containers" / rest[0], ignore_errors=True)
        case _:
            sys.exit(f"{command} is not a docker command")


def _confined(container: Path, options: dict[str, list[str]]) -> list[str]:
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--dev", "/dev", "--proc", "/proc"]
    for path in Path("/").iterdir():
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir() and path.name not in ("dev", "proc", "tmp", "root"):
            command += ["--ro-bind", str(path), str(path)]
    command += ["--bind", str(container / "tmp"), "/tmp"]
    for prefix in (sys.base_prefix, sys.prefix):
        command += ["--ro-bind", prefix, prefix]
    command += ["--bind", str(container / "testbed"), "/testbed"]
    return [*command, "--chdir", options["--workdir"][0]]


def _clean(options: dict[str, list[str]]) -> dict[str, str]:
    given = dict(each.split("=", 1) for each in options.get("--env", []))
    return {"PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", **given}


if __name__ == "__main__":
    main(Path(os.environ["FAKE_DOCKER"]), sys.argv[1:])
