"""Which failures are an entry's own, and which end a run."""

from __future__ import annotations

import re

from agentrt.errors import EngineLost, EngineUnreachable, ModelRequestFailed

#: How engines say that a prompt does not fit: SGLang, vLLM, OpenAI.
_OVERFLOW = re.compile(r"context[ _]length|context window", re.IGNORECASE)

_REFUSED_KEY = (401, 403)


def ends_the_run(error: Exception) -> bool:
    """Whether no other entry would fare better."""
    if isinstance(error, ModelRequestFailed):
        return error.status in _REFUSED_KEY
    return isinstance(error, EngineLost | EngineUnreachable)


def kind_of(error: Exception) -> str:
    """What to call the failure of an entry."""
    if isinstance(error, ModelRequestFailed):
        return "model:context_overflow" if _OVERFLOW.search(str(error)) else "model:refused"
    return f"runner:{type(error).__name__}"
