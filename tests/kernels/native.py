"""The native kernels for tests: at each level of the processor."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agentrt_engine.kernels.native.library import Level, Library, library

#: For tests that have nothing to test without a compiler.
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler"
)


@contextmanager
def native_at(level: Level) -> Iterator[Library]:
    """The kernels, computing at this level until the end."""
    native = library()
    assert native is not None
    if level > native.best:
        pytest.skip(f"this processor has no {level.name}")
    native.use(level)
    try:
        yield native
    finally:
        native.use(native.best)
