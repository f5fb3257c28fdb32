"""What a reader makes of a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agentrt_engine.wire.trace import ProgramRecord


@dataclass(slots=True)
class TraceContents:
    """The programs of one file.

    Attributes:
        metadata: free entries, as the file has them.
        notes: what a reader had to assume, leave out or change, in sentences for people.
    """

    programs: list[ProgramRecord]
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
