"""A git repository of one instance, and what is done to it before an agent sees it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

#: Path → content.
Files = Mapping[str, bytes]

#: The same files give the same commit, whoever makes it.
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "agentrt",
    "GIT_AUTHOR_EMAIL": "agentrt@localhost",
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "agentrt",
    "GIT_COMMITTER_EMAIL": "agentrt@localhost",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z",
    "LC_ALL": "C",
}

_TIMEOUT_S = 600.0


class RepositoryError(Exception):
    """A repository cannot be had; says why."""


class Repository:
    """A repository in a folder. Everything here blocks.

    Args:
        folder: of the working tree.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def commit(self, files: Files) -> str:
        """Begin with these files; returns the only commit."""
        self.folder.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")
        self._write(files)
        self._git("add", "--all", "--force")
        self._git("commit", "--quiet", "--message=base")
        return self._git("rev-parse", "HEAD").strip()

    def clone(self, url: str, commit: str) -> None:
        """Clone a repository as it was at a commit; nothing names what came later."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        clone = ("clone", "--quiet", "--no-checkout", "--", url, str(self.folder))
        self._git(*clone, folder=self.folder.parent)
        self._git("checkout", "--quiet", "--detach", commit)
        self._git("remote", "remove", "origin")
        for name in self._git("for-each-ref", "--format=%(refname)").split():
            self._git("update-ref", "-d", name)

    def difference(self, files: Files, paths: Sequence[str]) -> str:
        """The patch that brings some paths into the state that they have in these files."""
        self._git("rm", "-r", "--quiet", "--ignore-unmatch", "--", *paths)
        self._write({path: data for path, data in files.items() if _is_below(path, paths)})
        self._git("add", "--all", "--force", "--", *(each for each in paths if self._has(each)))
        patch = self._git(
            "diff", "--cached", "--binary", "--no-color", "--no-ext-diff", "--no-renames"
        )
        self._git("reset", "--quiet", "--hard")
        return patch

    def copy(self, folder: Path) -> Repository:
        """The same in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Repository(folder)

    def _has(self, path: str) -> bool:
        return (self.folder / path).exists()

    def _write(self, files: Files) -> None:
        for path, data in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def _git(self, *arguments: str, folder: Path | None = None) -> str:
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=folder or self.folder,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError as error:
            raise RepositoryError("git is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise RepositoryError(f"git {arguments[0]} took over {_TIMEOUT_S:g} s") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise RepositoryError(f"git {arguments[0]}: {said}")
        try:
            return done.stdout.decode()
        except UnicodeDecodeError as error:
            raise RepositoryError(f"git {arguments[0]}: its output is no UTF-8") from error


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)
