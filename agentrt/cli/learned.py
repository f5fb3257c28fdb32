"""`agentrt learned`: what an engine has learned, taken out and put into another."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from cyclopts import App

from agentrt.cli import console
from agentrt.cli.engine_api import EngineApi, EngineKey
from agentrt.errors import ModelRequestFailed, SettingError
from agentrt.replay.atomic_file import atomic_file
from agentrt_engine.wire.control import LEARNED_PATH, LEARNED_VERSION, Learned

app = App(
    name="learned",
    help="Take out what an engine has learned of tools and costs, and put it into another.",
)


@app.command
def export(url: str, file: Path | None = None, *, engine_key: EngineKey = None) -> None:
    """Write what an engine has learned to a file, or to stdout.

    How long tools take, how much work programs have left, what steps cost: as JSON, without any
    text of a prompt.

    Examples:

        agentrt learned export http://127.0.0.1:30000 learned.json

    Parameters
    ----------
    url
        An engine started by agentrt serve.
    file
        Where to write; stdout if absent.
    """
    with EngineApi(url, engine_key) as api:
        content = api.request("GET", LEARNED_PATH)
    try:
        learned = msgspec.json.decode(content, type=Learned)
    except msgspec.DecodeError as error:
        raise ModelRequestFailed(
            f"the engine at {url} answered something else than what it learned: {error}",
            status=200,
            hint="is it an engine of this version of agentrt?",
        ) from error
    text = msgspec.json.format(content) + b"\n"
    if file is None:
        sys.stdout.write(text.decode())
        return
    with atomic_file(file, what="learned statistics") as target:
        target.write(text)
    console.progress.print(f"wrote {file}: policy {learned.policy}", markup=False)


@app.command(name="import")
def import_(url: str, file: Path, *, engine_key: EngineKey = None) -> None:
    """Let an engine go on from what another has learned; what it knew before is replaced.

    The engine refuses what another policy learned, and damaged data.

    Examples:

        agentrt learned import http://127.0.0.1:30000 learned.json

    Parameters
    ----------
    url
        An engine started by agentrt serve.
    file
        As written by agentrt learned export.
    """
    content = _read(file)
    with EngineApi(url, engine_key) as api:
        api.request("PUT", LEARNED_PATH, content)
    console.progress.print(f"the engine at {url} goes on from {file}", markup=False)


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SettingError(
            f"cannot read {file}: {error.strerror}", hint="give a file of agentrt learned export"
        ) from error
    try:
        learned = msgspec.json.decode(content, type=Learned)
    except msgspec.DecodeError as error:
        raise SettingError(
            f"{file} holds no learned statistics: {error}",
            hint="give a file of agentrt learned export",
        ) from error
    if learned.version != LEARNED_VERSION:
        raise SettingError(
            f"{file}: version {learned.version}, expected {LEARNED_VERSION}",
            hint="export it again with this version of agentrt",
        )
    return content
