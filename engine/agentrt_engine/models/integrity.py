"""Is a model folder whole? Cheap enough to ask before every start of an engine.

The format of safetensors: 8 bytes little-endian header length, a JSON header with the byte
range of each tensor, then the tensors without gaps. A file cut short, or with a damaged
header, is found from the header and the file's length alone.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from agentrt_engine.errors import ModelCorrupt

#: Written by `fetch`: with it every byte of the folder is checked, without it the structure.
MANIFEST = "agentrt-manifest.json"

CONFIG = "config.json"
SAFETENSORS_INDEX = "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "tiktoken.model")

#: The format's own limit on the header, in bytes.
MAX_HEADER_BYTES = 100_000_000


class FileDigest(msgspec.Struct, frozen=True):
    """Size in bytes and hexadecimal SHA-256 of one file."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What `fetch` put into a folder.

    Attributes:
        model: name in the catalog.
        source_sha256: hash of the file that was converted.
        recipe: identifies the converter; another one would write other files.
        files: every file of the folder except the manifest.
    """

    model: str
    source_sha256: str
    recipe: str
    files: dict[str, FileDigest]


def check_model(folder: Path) -> None:
    """Return when an engine can be expected to load the Hugging Face folder.

    Raises:
        ModelCorrupt: names the first file that is missing or damaged, and how.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        for name, expected in manifest.files.items():
            _check_digest(folder / name, expected)
    _check_config(folder / CONFIG)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise _corrupt(folder, f"no tokenizer: expected one of {', '.join(TOKENIZERS)}")
    _check_weights(folder)


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None when it has none.

    Raises:
        ModelCorrupt: there is one, and it cannot be read.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise _corrupt(path, f"not a manifest: {error}") from error


def digest(path: Path) -> FileDigest:
    """Size and hash of a file, read once."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return FileDigest(bytes=file.tell(), sha256=sha256)


def read_safetensors_header(path: Path) -> Mapping[str, Any]:
    """Tensor name → entry of a safetensors file whose length matches its header exactly.

    Raises:
        ModelCorrupt: the header cannot be read, or bytes are missing or too many.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise _corrupt(path, f"{size} bytes are too few for a safetensors header")
        (length,) = struct.unpack("<Q", prefix)
        if length > min(MAX_HEADER_BYTES, size - 8):
            raise _corrupt(path, f"header of {length:,} bytes in a file of {size:,}")
        header = _parse_object(path, file.read(length))
    header.pop("__metadata__", None)
    try:
        ranges = sorted(tuple(entry["data_offsets"]) for entry in header.values())
        end = 0
        for start, stop in ranges:
            if start != end or stop < start:
                raise _corrupt(path, f"tensor bytes {start:,}-{stop:,} do not follow byte {end:,}")
            end = stop
    except (TypeError, KeyError, ValueError) as error:
        raise _corrupt(path, "a tensor has no usable data_offsets") from error
    if size != 8 + length + end:
        raise _corrupt(path, f"{size:,} bytes, its header describes {8 + length + end:,}")
    return header


def _check_config(path: Path) -> None:
    config = _read_object(path)
    if not config.get("architectures"):
        raise _corrupt(path, "names no `architectures`")


def _check_weights(folder: Path) -> None:
    tensors = {path.name: read_safetensors_header(path) for path in folder.glob("*.safetensors")}
    index = folder / SAFETENSORS_INDEX
    if index.exists():
        shard_of = _read_object(index).get("weight_map")
        if not isinstance(shard_of, dict):
            raise _corrupt(index, "has no `weight_map`")
        for tensor, shard in shard_of.items():
            if shard not in tensors:
                raise _corrupt(folder / str(shard), f"missing, although {index.name} lists it")
            if tensor not in tensors[shard]:
                raise _corrupt(folder / shard, f"has no tensor {tensor}")
    elif not tensors and not any(folder.glob("pytorch_model*.bin")):
        raise _corrupt(folder, "no weights: expected *.safetensors")


def _check_digest(path: Path, expected: FileDigest) -> None:
    if not path.is_file():
        raise _corrupt(path, "missing")
    size = path.stat().st_size
    if size != expected.bytes:
        raise _corrupt(path, f"{size:,} bytes, expected {expected.bytes:,}")
    if digest(path) != expected:
        raise _corrupt(path, f"its content changed (SHA-256 is not {expected.sha256[:12]}…)")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        return _parse_object(path, path.read_bytes())
    except FileNotFoundError:
        raise _corrupt(path, "missing") from None


def _parse_object(path: Path, data: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(data)
    except ValueError as error:
        raise _corrupt(path, f"not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise _corrupt(path, "not a JSON object")
    return parsed


def _corrupt(path: Path, problem: str) -> ModelCorrupt:
    return ModelCorrupt(
        f"{path}: {problem}", hint="agentrt models fetch, or download the model's folder again"
    )
