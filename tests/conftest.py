"""Fixtures that every test may use. One engine serves the whole session."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import settings

from agentrt_engine.models.folder import resolve_model
from agentrt_engine.sglang.options import DType, engine_options
from agentrt_engine.sglang.ports import free_port
from agentrt_engine.sglang.server import EngineProcess, start_engine

# Where the tests run in the background, shells start them with SIGINT ignored, and children
# inherit that. With a handler here children start with the default, as from a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a machine that others use, too.
settings.register_profile("agentrt", deadline=None)
settings.load_profile("agentrt")

#: Small enough that tests can fill it.
KV_TOKENS = 12_288


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The default model, as `agentrt models fetch` left it."""
    return resolve_model()


@pytest.fixture(scope="session")
def engine() -> Iterator[EngineProcess]:
    """The engine of the session: the default model in float32, default policy, no key."""
    options = engine_options(port=free_port(), kv_tokens=KV_TOKENS, dtype=DType.FLOAT32)
    process = anyio.run(start_engine, options)
    yield process
    process.stop(grace_s=0.0)
