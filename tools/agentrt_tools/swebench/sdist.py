"""Source distributions of a package index, through pip: whatever index it is configured for."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from agentrt_engine.cache import cache_dir
from agentrt_engine.pip import pip_command
from agentrt_tools.swebench.child import RepositoryError, run_child
from agentrt_tools.swebench.repository import Files


async def fetch_sdist(name: str, version: str, sha256: str) -> Files:
    """The files of a source distribution; kept in the cache.

    pip compares the hash; then it looks at the metadata, which may run the project's setup.py. It
    does not take a project whose metadata is not valid.

    Raises:
        RepositoryError: it cannot be had, or is another one.
    """
    kept = cache_dir() / "sdists" / f"{name}-{version}-{sha256[:16]}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        await _download(name, version, sha256, kept)
    try:
        return await anyio.to_thread.run_sync(lambda: dict(_files(kept)))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise RepositoryError(f"{kept} cannot be read: {error}") from error


async def _download(name: str, version: str, sha256: str, target: Path) -> None:
    wanted = f"{name}=={version}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=target.parent) as folder:
        listed = anyio.Path(folder, "wanted.txt")
        await listed.write_text(f"{wanted} --hash=sha256:{sha256}\n")
        options = ("--quiet", "--no-deps", f"--no-binary={name}", "--require-hashes")
        command = pip_command("download", *options, f"--dest={folder}/got", f"-r{listed}")
        await run_child(command, f"pip download {wanted}")
        async for archive in anyio.Path(folder, "got").iterdir():
            await archive.replace(target)


def _files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Paths below the one folder of the archive."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _, *parts = PurePosixPath(member.name).parts
            if not member.isfile() or not parts or {"..", ".git"} & set(parts):
                continue
            file = tar.extractfile(member)
            assert file is not None
            yield str(PurePosixPath(*parts)), file.read()
