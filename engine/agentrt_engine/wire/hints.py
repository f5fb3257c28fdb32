"""What a client may tell an engine about its programs: `POST /agentrt/hints`.

A hint changes when and where from something is computed, never what. Each is answered with its
outcome. Source of the vocabulary: SGLang's KV hints (Share, Prefetch, Demote, Pin, Retain) and
the tool hints of agent runtimes.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

HINTS_PATH = "/agentrt/hints"

#: Header of a request whose client tells of its tools itself: the engine then infers nothing.
HINTS_HEADER = "X-Agentrt-Hints"
HINTS_EXPLICIT = "explicit"

#: Hints in one request, bytes of one request, and characters of any name in it.
MAX_HINTS = 256
MAX_BYTES = 1 << 20
MAX_NAME = 256


class HintKind(StrEnum):
    """What a hint says."""

    #: The program waits for a tool from now on.
    TOOL_STARTED = "tool_started"
    #: One tool call is over; the program's next turn is being prepared.
    TOOL_FINISHED = "tool_finished"
    #: How much of a tool call is done.
    TOOL_PROGRESS = "tool_progress"
    #: How much work the program has left.
    REMAINING = "remaining"
    #: The program goes before or behind others.
    PRIORITY = "priority"
    #: The program has no more turns.
    ENDED = "ended"
    #: Bring the program's KV back before its next turn.
    PREFETCH = "prefetch"
    #: The program's KV may go first.
    DEMOTE = "demote"
    #: A lease of that length, which yields only when nothing else can be freed.
    PIN = "pin"
    #: A lease as the policy gives it.
    RETAIN = "retain"
    #: Share the program's KV with others; prefixes are shared anyway.
    SHARE = "share"


class Hint(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One hint.

    Attributes:
        tool: name of the tool, and signature: its arguments in short.
        call_id: of the tool call, where several run at once.
        expected_s: quantile → seconds from the start of the tool, such as {"0.5": 2, "0.95": 30}.
        progress: share of the tool call that is done, above 0 up to 1.
        outcome: how the tool ended: finished, failed, timed_out or cancelled.
        remaining_turns: turns left after the one that runs or waits.
        remaining_s: seconds of engine work left.
        priority: 0 is usual, higher goes first.
        ttl_s: length of a pin.
    """

    program_id: str
    kind: HintKind
    tool: str | None = None
    signature: str | None = None
    call_id: str | None = None
    expected_s: dict[str, float] | None = None
    progress: float | None = None
    outcome: str | None = None
    remaining_turns: int | None = None
    remaining_s: float | None = None
    priority: float | None = None
    ttl_s: float | None = None


class HintResult(StrEnum):
    """What became of a hint."""

    APPLIED = "applied"
    #: It is kept and counts when the program's turn has ended.
    DEFERRED = "deferred"
    #: In part: a number was out of bounds and was cut.
    CLIPPED = "clipped"
    #: Not at all: the program is unknown or another key's, or the budget is used up.
    REJECTED = "rejected"
    #: This engine cannot act on hints of that kind.
    UNSUPPORTED = "unsupported"


class HintOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer to one hint.

    What follows `why` answers to the start of a tool, by policies that lease and predict.

    Attributes:
        why: where it was not simply applied.
        ttl_s: seconds until the lease of the program's KV ends.
        held_tokens: tokens of KV that are kept for the program alone.
        pause_s: quantile → seconds that the pause is predicted to last.
    """

    program_id: str
    kind: HintKind
    outcome: HintResult
    why: str = ""
    ttl_s: float | None = None
    held_tokens: int | None = None
    pause_s: dict[str, float] | None = None
