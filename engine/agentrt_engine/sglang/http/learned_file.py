"""What the policy has learned, in one small file that outlives the engine."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from agentrt_engine.wire.control import LEARNED_VERSION, Learned

_logger = logging.getLogger(__name__)


class UnusableLearned(ValueError):
    """Something that is not `Learned` of this version."""


def decode_learned(content: bytes) -> Learned:
    """The content of a file or of an import.

    Raises:
        UnusableLearned: it is damaged or of another version.
    """
    try:
        learned = msgspec.json.decode(content, type=Learned)
    except (ValueError, RecursionError) as error:
        raise UnusableLearned(f"it is damaged: {str(error).replace('`', '')}") from error
    if learned.version != LEARNED_VERSION:
        raise UnusableLearned(f"$.version is {learned.version}: expected {LEARNED_VERSION}")
    return learned


class LearnedFile:
    """The file of one engine.

    Args:
        path: need not exist; its folder is made when something is saved.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # a link stays a link
        self._written: bytes | None = None

    def load(self) -> bytes | None:
        """The content to learn from; None where there is none that can be used.

        What cannot be used is set aside, so that no later save writes over it.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.set_aside(f"it cannot be read: {error.strerror}")
            return None
        try:
            decode_learned(content)
        except UnusableLearned as error:
            self.set_aside(str(error))
            return None
        self._written = content
        return content

    def set_aside(self, reason: str) -> None:
        """Rename the file and say why in the log."""
        kept = _free_name(self._path)
        try:
            self._path.rename(kept)
        except OSError as error:
            _logger.warning("cannot rename the learned file %s: %s", self._path, error.strerror)
            return
        self._written = None
        _logger.warning(
            "the learned file %s is not used: %s; it is kept as %s", self._path, reason, kept
        )

    def save(self, content: bytes) -> None:
        """Write the file whole or not at all; nothing where it holds the same already."""
        if content == self._written and self._path.exists():
            return
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            _logger.warning("cannot write the learned file %s: %s", self._path, error.strerror)
            return
        self._written = content


def _free_name(path: Path) -> Path:
    """`path.bad`, or the first of `path.bad.2`, `path.bad.3` … that does not exist."""
    kept, number = path.with_name(f"{path.name}.bad"), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.bad.{number}")
    return kept
