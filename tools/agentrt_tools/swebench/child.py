"""Commands of our own: git, pip and the clients of containers. Cancellation ends them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

#: Characters of the end of what a failed command said.
_SHOWN = 600


class RepositoryError(Exception):
    """What an instance takes cannot be had; says why."""


async def run_child(
    argv: Sequence[str],
    does: str,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 600.0,
) -> str:
    """Run a command to its end; what it wrote to stdout.

    Args:
        does: what it does, for people.
        folder: its working directory.
        environment: all its variables; None inherits ours.
        timeout: seconds.

    Raises:
        RepositoryError: it failed, took too long, or is not there.
    """
    try:
        with anyio.fail_after(timeout):
            done = await anyio.run_process(
                argv,
                stdin=subprocess.DEVNULL,
                check=False,
                cwd=folder,
                env=environment,
                start_new_session=True,  # a Ctrl-C is ours to pass on
            )
        if done.returncode == 0:
            return done.stdout.decode()
    except TimeoutError as error:
        raise RepositoryError(f"{does} took over {timeout:g} s") from error
    except UnicodeDecodeError as error:
        raise RepositoryError(f"{does}: the output is no UTF-8") from error
    except OSError as error:
        raise RepositoryError(f"{does}: {error}") from error
    said = (done.stderr or done.stdout).decode(errors="replace").strip()
    raise RepositoryError(f"{does}: {said[-_SHOWN:] or f'exit code {done.returncode}'}")
