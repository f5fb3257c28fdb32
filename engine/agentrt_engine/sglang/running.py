"""Engines that `agentrt serve` keeps running on this machine, so that clients find them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from agentrt_engine.cache import cache_dir
from agentrt_engine.sglang.options import EngineOptions


class RunningEngine(msgspec.Struct, frozen=True):
    """A served engine.

    Attributes:
        pid: of the `agentrt serve` process.
        url: where it answers.
        model: folder or name of the model.
        needs_key: requests must bear a key, which is not kept here.
    """

    pid: int
    url: str
    model: str
    needs_key: bool

    @classmethod
    def of(cls, options: EngineOptions) -> RunningEngine:
        """The engine that this process started with `options`."""
        return cls(os.getpid(), options.url, str(options.model), bool(options.api_keys))


def _folder() -> Path:
    folder = cache_dir() / "running"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def announced(engine: RunningEngine) -> Iterator[None]:
    """Make the engine known while the block runs."""
    path = _folder() / f"serve-{engine.pid}.json"
    draft = path.with_suffix(".tmp")
    draft.write_bytes(msgspec.json.encode(engine))
    draft.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_engines() -> list[RunningEngine]:
    """Engines whose process is alive, latest first. Notes left by dead ones are removed."""
    notes = sorted(
        _folder().glob("serve-*.json"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    engines = []
    for note in notes:
        try:
            engine = msgspec.json.decode(note.read_bytes(), type=RunningEngine)
        except (msgspec.DecodeError, FileNotFoundError):
            continue
        if _alive(engine.pid):
            engines.append(engine)
        else:
            note.unlink(missing_ok=True)
    return engines


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
