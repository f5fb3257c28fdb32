"""Confinement of the commands that agents run.

Bubblewrap where it works: the file system is read-only except for the workspace, there is no
network, other processes are invisible, and home directories, /run and /tmp are empty.
Elsewhere a plain process, with a warning: it is kept in the workspace by nothing but its manners.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

logger = logging.getLogger(__name__)

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Directories with other people's files, secrets or sockets; shown empty where they exist.
_HIDDEN = ("/tmp", "/var/tmp", "/run", "/home", "/root")

#: Where systemd keeps what /etc/resolv.conf is a link to.
_RESOLVER = "/run/systemd/resolve"

_PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a command may reach beyond its workspace.

    Attributes:
        network: whatever this machine can reach.
        readable: folders that can be read although they lie where everything else is hidden.
        scratch: folder that stands for /tmp, which is otherwise a new one for each command.
        workspace_at: where a command sees the workspace; None: where it is.
    """

    network: bool = False
    readable: tuple[Path, ...] = ()
    scratch: Path | None = None
    workspace_at: Path | None = None


NOTHING_ALLOWED = Allowed()


class Sandbox(Protocol):
    """A way to run a command in a workspace."""

    def command(
        self, argv: Sequence[str], workspace: Path, allowed: Allowed = NOTHING_ALLOWED
    ) -> list[str]:
        """The command line that runs `argv` confined to the workspace."""
        ...

    def seen(self, workspace: Path, allowed: Allowed) -> Path:
        """Where a command sees its workspace."""
        ...

    def environment(self, workspace: Path) -> dict[str, str]:
        """All environment variables of the command; none are inherited."""
        ...

    def kill(self, pid: int) -> None:
        """End a running `command`, which leads a process group, and all it started."""
        ...

    def end_background(self, pid: int) -> None:
        """End what a `command` that has ended left running."""
        ...


class PlainProcess:
    """No confinement but the working directory and a clean environment."""

    def command(
        self, argv: Sequence[str], workspace: Path, allowed: Allowed = NOTHING_ALLOWED
    ) -> list[str]:
        """The command line as it is."""
        return list(argv)

    def seen(self, workspace: Path, allowed: Allowed) -> Path:
        """Where it is."""
        return workspace

    def environment(self, workspace: Path) -> dict[str, str]:
        """A fixed environment."""
        return _environment(workspace)

    def kill(self, pid: int) -> None:
        """End the process group; what has left the group survives."""
        _kill_group(pid)

    def end_background(self, pid: int) -> None:
        """End what is left of the process group."""
        _kill_group(pid)


class Bubblewrap:
    """Linux namespaces, through the program `bwrap`.

    Args:
        executable: path of `bwrap`.
    """

    def __init__(self, executable: str) -> None:
        self._executable = executable

    def command(
        self, argv: Sequence[str], workspace: Path, allowed: Allowed = NOTHING_ALLOWED
    ) -> list[str]:
        """The command line inside `bwrap`; the namespace dies with this process."""
        seen = str(self.seen(workspace, allowed))
        hidden = [option for path in _HIDDEN if Path(path).is_dir() for option in ("--tmpfs", path)]
        shown: list[str | Path] = []
        if allowed.scratch is not None:
            shown += ["--bind", allowed.scratch, "/tmp"]
        for path in allowed.readable:
            shown += ["--ro-bind", path, path]
        if allowed.network:
            # Names are looked up with what may lie in /run.
            shown += ["--share-net", "--ro-bind-try", _RESOLVER, _RESOLVER]
        return [
            self._executable,
            *("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
            *hidden,
            *map(str, shown),
            *("--bind", str(workspace), seen, "--chdir", seen),
            "--",
            *argv,
        ]

    def seen(self, workspace: Path, allowed: Allowed) -> Path:
        """Where it is, or where it is wanted."""
        return allowed.workspace_at or workspace

    def environment(self, workspace: Path) -> dict[str, str]:
        """A fixed environment."""
        return _environment(workspace)

    def kill(self, pid: int) -> None:
        """End the first process of the namespace, and with it all others; `bwrap` follows.

        Killing `bwrap` itself would not do: in its first milliseconds the child is not yet
        bound to die with it.
        """
        with suppress(ProcessLookupError, FileNotFoundError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
            if not children:
                os.killpg(pid, signal.SIGKILL)

    def end_background(self, pid: int) -> None:
        """Nothing: the namespace has ended with its command."""

    def works(self) -> bool:
        """Whether this machine lets `bwrap` make its namespaces; many containers do not."""
        try:
            probe = subprocess.run(
                self.command(["true"], Path("/usr")),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return probe.returncode == 0


def find_sandbox(search_path: str | None = None) -> Sandbox:
    """The best confinement this machine offers; warns when there is none. Blocks for a probe.

    Args:
        search_path: where to look for `bwrap`, in the form of `PATH`; None is `PATH` itself.
    """
    executable = shutil.which("bwrap", path=search_path)
    if executable is not None and (sandbox := Bubblewrap(executable)).works():
        return sandbox
    state = "is not installed" if executable is None else "may not make namespaces here"
    logger.warning(
        "tools run without a sandbox, with the rights of this process: bubblewrap %s", state
    )
    return PlainProcess()


@cache
def default_sandbox() -> Sandbox:
    """`find_sandbox()`, once per process."""
    return find_sandbox()


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _environment(workspace: Path) -> dict[str, str]:
    return {
        "PATH": _PATH,
        "HOME": str(workspace),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
    }
