"""Which format a file has, by its content."""

from __future__ import annotations

from agentrt.errors import TraceError
from agentrt.replay.formats.catalog import FORMATS, TraceFormat
from agentrt.replay.formats.source import TraceSource


def detect_format(source: TraceSource) -> TraceFormat:
    """The format that the beginning of the file looks like.

    Raises:
        TraceError: it looks like none.
    """
    opening = source.opening()
    found = [name for name, info in FORMATS.items() if info.looks_like(opening)]
    if not found:
        looked_for = "; ".join(info.title for info in FORMATS.values())
        begins = ", ".join(opening.first) or "no JSON object"
        raise TraceError(
            f"{source.path} is of no known format: it begins with {_shortened(begins)}. "
            f"Looked for: {looked_for}",
            hint="name the format with --format, or convert the file to agentrt.trace.v1 "
            "(traces/README.md)",
        )
    name = source.path.name.removesuffix(".gz")
    return next((f for f in found if name.endswith(FORMATS[f].suffix)), found[0])


def _shortened(text: str) -> str:
    limit = 100
    return text if len(text) <= limit else text[:limit] + "…"
