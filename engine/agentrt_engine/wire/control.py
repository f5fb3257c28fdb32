"""Payloads between the HTTP process and the scheduler of one engine."""

from __future__ import annotations

from typing import Any

import msgspec

from agentrt_engine.wire.hints import Hint

LEARNED_PATH = "/agentrt/learned"

#: Version of what `Learned.data` holds.
LEARNED_VERSION = 1


class OwnedHint(msgspec.Struct, frozen=True):
    """A hint and the short name of the key it came with, "" without keys."""

    owner: str
    hint: Hint


class SnapshotRequest(msgspec.Struct, frozen=True):
    """Which rows of an `EngineSnapshot`.

    Attributes:
        limit: rows at most.
        owner: only programs of that key; None: of all.
    """

    limit: int = 1000
    owner: str | None = None


class Learned(msgspec.Struct):
    """What a policy and the cost model have learned, for the next start.

    Attributes:
        policy: name of the policy, without parameters.
        data: as its parts export it.
    """

    version: int
    policy: str
    data: dict[str, Any]
