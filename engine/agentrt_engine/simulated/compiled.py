"""Whether this simulator was compiled when agentrt was installed (see `hatch_build.py`)."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

_EVENT_LOOP = "agentrt_engine.simulated.engine"


def is_compiled() -> bool:
    """Whether the event loop runs as an extension module and not as plain Python."""
    spec = find_spec(_EVENT_LOOP)
    return bool(spec and spec.origin and spec.origin.endswith(tuple(EXTENSION_SUFFIXES)))
