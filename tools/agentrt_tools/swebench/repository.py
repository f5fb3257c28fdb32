"""A git repository of one instance, and what is done to it before an agent sees it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from agentrt_tools.swebench.child import RepositoryError, run_child

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


class Repository:
    """A repository in a folder.

    Args:
        folder: of the working tree.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def commit(self, files: Files) -> str:
        """Begin with these files; returns the only commit.

        Raises:
            RepositoryError: a path leads out of the checkout, or git cannot do it.
        """
        self.folder.mkdir(parents=True)
        await self._git("init", "--quiet", "--initial-branch=main")
        self._write(files)
        await self._git("add", "--all", "--force")
        await self._git("commit", "--quiet", "--message=base")
        return (await self._git("rev-parse", "HEAD")).strip()

    async def clone(self, url: str, commit: str) -> None:
        """Clone a repository as it was at a commit.

        Raises:
            RepositoryError: git cannot do it.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        clone = ("clone", "--quiet", "--no-checkout", "--", url, str(self.folder))
        await self._git(*clone, folder=self.folder.parent)
        await self._git("checkout", "--quiet", "--detach", commit)
        await self._git("remote", "remove", "origin")
        for name in (await self._git("for-each-ref", "--format=%(refname)")).split():
            await self._git("update-ref", "-d", name)

    async def difference(self, files: Files, paths: Sequence[str]) -> str:
        """The patch that brings some paths into the state that they have in these files."""
        await self._git("rm", "-r", "--quiet", "--ignore-unmatch", "--", *paths)
        self._write({path: data for path, data in files.items() if _is_below(path, paths)})
        there = [path for path in paths if (self.folder / path).exists()]
        await self._git("add", "--all", "--force", "--", *there)
        plain = ("--no-color", "--no-ext-diff", "--no-renames")
        patch = await self._git("diff", "--cached", "--binary", *plain)
        await self._git("reset", "--quiet", "--hard")
        return patch

    async def hand_over(self) -> None:
        """Make it an agent's: nothing is in it but its commit and what came before, and it may
        commit."""
        await self._git("reflog", "expire", "--expire=now", "--all")
        await self._git("gc", "--quiet", "--prune=now")
        await self._git("config", "user.name", "agent")
        await self._git("config", "user.email", "agent@localhost")

    def copy(self, folder: Path) -> Repository:
        """The same in another folder. Blocks."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Repository(folder)

    def _write(self, files: Files) -> None:
        for path, data in files.items():
            parts = PurePosixPath(path).parts
            if path.startswith("/") or {"..", ".git"} & set(parts):
                raise RepositoryError(f"{path!r} is no path of a file in a checkout")
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    async def _git(self, *arguments: str, folder: Path | None = None) -> str:
        return await run_child(
            ["git", *arguments],
            f"git {arguments[0]}",
            folder=folder or self.folder,
            environment=_ENVIRONMENT,
        )


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)
