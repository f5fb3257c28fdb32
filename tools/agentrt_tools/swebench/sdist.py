"""Source distributions of a package index, through pip: whatever index it is configured for."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from agentrt_engine.cache import cache_dir, logs_dir
from agentrt_engine.errors import EngineInstallFailed
from agentrt_engine.pip import pip_command, run_pip
from agentrt_tools.swebench.repository import Files, RepositoryError


def fetch_sdist(name: str, version: str, sha256: str) -> Files:
    """The files of a source distribution; kept in the cache. Blocks.

    pip looks at the metadata of what it downloads, which may run the project's setup.py; it does
    not take a project whose metadata is not valid.

    Raises:
        RepositoryError: it cannot be had, or is another one.
    """
    kept = cache_dir() / "sdists" / f"{name}-{version}-{sha256[:16]}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _download(name, version, sha256, kept)
    try:
        return dict(_files(kept))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise RepositoryError(f"{kept} cannot be read: {error}") from error


def _download(name: str, version: str, sha256: str, target: Path) -> None:
    wanted = f"{name}=={version}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=target.parent) as folder:
        options = ("--quiet", "--no-deps", "--no-binary", name, "--dest", folder)
        try:
            command = pip_command("download", *options, wanted)
            log = logs_dir() / "sdists.log"
            run_pip(command, wanted, log, lambda line: None, does="download")
        except EngineInstallFailed as error:
            raise RepositoryError(str(error)) from error
        for path in Path(folder).iterdir():
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found == sha256:
                path.replace(target)
                return
        raise RepositoryError(f"the source of {wanted} has another sha256 than {sha256}")


def _files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Paths below the one folder of the archive."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _, *parts = PurePosixPath(member.name).parts
            if not member.isfile() or not parts or ".." in parts:
                continue
            file = tar.extractfile(member)
            assert file is not None
            yield str(PurePosixPath(*parts)), file.read()
