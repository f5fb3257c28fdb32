"""The native kernels are built once, and never loaded from where others could have put them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from agentrt_engine.cache import CACHE_DIR_VARIABLE
from agentrt_engine.errors import SettingError
from agentrt_engine.kernels.native.build import COMPILER_VARIABLE, CannotBuild, build_kernels
from agentrt_engine.kernels.native.library import NATIVE_VARIABLE, library
from agentrt_engine.kernels.segment_attention import segment_attention
from agentrt_engine.kernels.segments import Segments

#: Writes a file as a compiler would, and a line to a log.
COMPILER = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
while [ $# -gt 0 ]; do
    [ "$1" = -o ] && echo no object > "$2"
    shift
done
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache; kernels that were loaded before are loaded again afterwards."""
    monkeypatch.setenv(CACHE_DIR_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(NATIVE_VARIABLE, raising=False)
    library.cache_clear()
    yield tmp_path
    library.cache_clear()


@pytest.fixture
def compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for a compiler, named by `CC`."""
    script = folder / "compiler"
    script.write_text(COMPILER)
    script.chmod(0o755)
    monkeypatch.setenv(COMPILER_VARIABLE, str(script))
    return script


def _compiled(compiler: Path) -> int:
    return (compiler.parent / "calls").read_text().count("kernels.c")


def test_they_are_compiled_once(compiler: Path) -> None:
    built = build_kernels()
    assert build_kernels() == built
    assert _compiled(compiler) == 1
    assert built.stat().st_mode & 0o777 == 0o500
    assert built.parent.stat().st_mode & 0o777 == 0o700
    assert {each.name for each in built.parent.iterdir()} == {built.name, "lock"}


def test_another_compiler_makes_another_file(
    compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_kernels()
    monkeypatch.setenv(COMPILER_VARIABLE, f"{compiler} -march=other")
    assert build_kernels() != built
    assert _compiled(compiler) == 2


@pytest.mark.parametrize("changeable", ["file", "folder"])
def test_what_others_can_write_is_not_loaded(compiler: Path, changeable: str) -> None:
    built = build_kernels()
    if changeable == "file":
        built.chmod(0o522)
    else:
        os.chmod(built.parents[1], 0o777)  # noqa: PTH101
    with pytest.raises(CannotBuild, match="others can change"):
        build_kernels()


def test_a_link_to_elsewhere_is_not_loaded(compiler: Path) -> None:
    built = build_kernels()
    built.rename(compiler.parent / "elsewhere.so")
    built.symlink_to(compiler.parent / "elsewhere.so")
    with pytest.raises(CannotBuild, match="others can change"):
        build_kernels()


@pytest.mark.parametrize(
    ("compiler_is", "says"),
    [("no-such-compiler", "no C compiler: no-such-compiler not found"), ("false", "exit code 1")],
)
def test_without_a_compiler_torch_computes_and_the_log_says_so_once(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    compiler_is: str,
    says: str,
) -> None:
    monkeypatch.setenv(COMPILER_VARIABLE, compiler_is)
    query, pool, output = torch.ones(1, 2, 16), torch.ones(1, 4, 1, 16), torch.zeros(1, 2, 16)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            segment_attention(query, pool, pool, Segments.of([[3]], [4], [[0]], 4), 1.0, output)
    assert output.eq(1.0).all()
    assert library() is None
    assert len(caplog.messages) == 1
    assert says in caplog.text


def test_an_object_that_does_not_load_is_no_error(
    compiler: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert library() is None
    assert "cannot load" in caplog.text


def test_they_can_be_turned_off(compiler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NATIVE_VARIABLE, "0")
    assert library() is None
    assert not (compiler.parent / "calls").exists()
    library.cache_clear()
    monkeypatch.setenv(NATIVE_VARIABLE, "off")
    with pytest.raises(SettingError, match=r"AGENTRT_NATIVE is 'off': expected 0 or 1"):
        library()
