"""A damaged model folder is refused before an engine starts on it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from agentrt_engine.errors import ModelCorrupt
from agentrt_engine.models.integrity import check_model

INDEX = "model.safetensors.index.json"


def safetensors(*tensors: str, size: int = 16) -> bytes:
    """A file with `size` bytes per named tensor."""
    header = {
        name: {"dtype": "U8", "shape": [size], "data_offsets": [i * size, (i + 1) * size]}
        for i, name in enumerate(tensors)
    }
    encoded = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(encoded)) + encoded + bytes(size * len(tensors))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole model of two shards."""
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model-1.safetensors").write_bytes(safetensors("a", "b"))
    (tmp_path / "model-2.safetensors").write_bytes(safetensors("c"))
    shards = {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": shards}))
    return tmp_path


def test_a_whole_folder_passes(folder: Path) -> None:
    check_model(folder)


def test_a_single_file_needs_no_index(folder: Path) -> None:
    (folder / INDEX).unlink()
    (folder / "model-2.safetensors").unlink()
    check_model(folder)


def _write(name: str, content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return damage


def _remove(*names: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def _with_header(header: object, data_bytes: int = 16) -> bytes:
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + bytes(data_bytes)


SHARD = "model-2.safetensors"


@pytest.mark.parametrize(
    ("damage", "culprit", "says"),
    [
        (_remove("config.json"), "config.json", "missing"),
        (_write("config.json", '{"architectures": ['), "config.json", "not JSON"),
        (_write("config.json", "[]"), "config.json", "not a JSON object"),
        (_write("config.json", "{}"), "config.json", "architectures"),
        (_remove("tokenizer.json"), "", "no tokenizer"),
        (_write(SHARD, b""), SHARD, "too few"),
        (_write(SHARD, safetensors("c")[:-1]), SHARD, "bytes, its header describes"),
        (_write(SHARD, safetensors("c") + b"\0"), SHARD, "bytes, its header describes"),
        (_write(SHARD, safetensors("c")[:20]), SHARD, "header of"),
        (_write(SHARD, struct.pack("<Q", 1 << 60)), SHARD, "header of"),
        (_write(SHARD, struct.pack("<Q", 3) + b"{x}" + bytes(16)), SHARD, "not JSON"),
        (_write(SHARD, _with_header({"c": {}})), SHARD, "data_offsets"),
        (_write(SHARD, _with_header({"c": 1})), SHARD, "data_offsets"),
        (_write(SHARD, _with_header({"c": {"data_offsets": [8, 16]}})), SHARD, "do not follow"),
        (_remove(SHARD), SHARD, "lists it"),
        (_write(SHARD, safetensors("d")), SHARD, "has no tensor c"),
        (_write(INDEX, "{}"), INDEX, "weight_map"),
        (_remove(INDEX, SHARD, "model-1.safetensors"), "", "no weights"),
    ],
)
def test_damage_is_named(
    folder: Path, damage: Callable[[Path], None], culprit: str, says: str
) -> None:
    damage(folder)
    with pytest.raises(ModelCorrupt) as caught:
        check_model(folder)
    assert str(caught.value).startswith(f"{folder / culprit}: ")
    assert says in str(caught.value)
    assert "agentrt models fetch" in caught.value.hint
