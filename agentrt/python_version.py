"""Which Python this runs on; checked before anything else is imported."""

from __future__ import annotations

from agentrt_engine.errors import UnsupportedPython

#: Supported (major, minor) versions, oldest first.
SUPPORTED = ((3, 11), (3, 12))


def require_supported_python(version: tuple[int, int]) -> None:
    """Accept a (major, minor) version of Python, or say which ones are accepted.

    Raises:
        UnsupportedPython: the version is not one of `SUPPORTED`.
    """
    if version in SUPPORTED:
        return
    accepted = " or ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
    raise UnsupportedPython(
        f"agentrt needs Python {accepted}, but this is Python {version[0]}.{version[1]}.",
        hint=f"create an environment with Python {accepted} and install agentrt there",
    )
