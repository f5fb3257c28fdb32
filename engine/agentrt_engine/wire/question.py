"""What the HTTP process asks the scheduler of an engine."""

from __future__ import annotations

from enum import StrEnum


class Question(StrEnum):
    """What is asked; payloads are JSON where nothing else is said."""

    #: A list of `OwnedHint`; answered by a list of `HintOutcome`.
    HINTS = "hints"
    #: A `SnapshotRequest`; answered by an `EngineSnapshot`.
    SNAPSHOT = "snapshot"
    #: Nothing; answered by a `Learned`.
    LEARNED = "learned"
    #: A `Learned`; answered by nothing, or by a plain text that says what is wrong with it.
    LEARN = "learn"
