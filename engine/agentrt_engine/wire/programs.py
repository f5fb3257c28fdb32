"""What an engine says of its programs: `GET /agentrt/programs`. Also the source of its metrics."""

from __future__ import annotations

import msgspec

PROGRAMS_PATH = "/agentrt/programs"


class ProgramAccount(msgspec.Struct):
    """What a program, or all of them, cost so far.

    Attributes:
        prefill_s, recompute_s, decode_s: engine seconds that prefilled new tokens, prefilled
            tokens which had been in the cache, and decoded (its share of each step).
        held_token_s: token-seconds of KV held while paused.
        held_price_s: the same at the price of memory then, engine seconds.
        lost_tokens: tokens of its KV that were reclaimed while it was alive.
    """

    prefill_s: float = 0.0
    recompute_s: float = 0.0
    decode_s: float = 0.0
    held_token_s: float = 0.0
    held_price_s: float = 0.0
    lost_tokens: int = 0


class ProgramRow(msgspec.Struct):
    """One live program.

    Attributes:
        key: short name of the API key it came with, "" without keys.
        state: waiting, running, paused or preempted.
        arrival: position in the order in which programs reached the engine.
        age_s: since its first request.
        turns: that have ended.
        tool: what it waits for; None when that is not known.
        state_s: how long it has been in this state.
        predicted_s: median length of this pause as predicted when it began.
        context_tokens: prompt and output of its last turn.
        held_tokens: of them under its lease and nobody else's.
        lease_s: until its lease expires; None without one or without an end.
    """

    program_id: str
    key: str
    state: str
    arrival: int
    age_s: float
    turns: int
    state_s: float
    context_tokens: int
    held_tokens: int
    parent_id: str | None = None
    tool: str | None = None
    predicted_s: float | None = None
    lease_s: float | None = None
    priority: float = 0.0
    account: ProgramAccount = msgspec.field(default_factory=ProgramAccount)


class Totals(msgspec.Struct):
    """Counters since the engine started; they only grow, but for `flushes` of nothing else.

    Attributes:
        programs_ended: by reason: final, hint, session, idle, aborted, evicted (table full).
        reclaimed_tokens, reclaims: by reason: admission, decode, budget, forced, demoted.
        leases: by event: granted, consumed, expired, dropped.
        hints: by outcome.
        prompt_tokens, hit_tokens: of admitted turns, retracted ones counted once.
        lost_tokens: that a turn had to prefill again although it had been in the cache.
        pauses, pause_s, predicted_pause_s: pauses that had a prediction, their actual and
            predicted (median) seconds.
        pause_error_s: sum of the absolute differences.
    """

    programs_started: int = 0
    turns: int = 0
    retractions: int = 0
    flushes: int = 0
    prompt_tokens: int = 0
    hit_tokens: int = 0
    lost_tokens: int = 0
    output_tokens: int = 0
    pauses: int = 0
    pause_s: float = 0.0
    predicted_pause_s: float = 0.0
    pause_error_s: float = 0.0
    programs_ended: dict[str, int] = msgspec.field(default_factory=dict)
    reclaims: dict[str, int] = msgspec.field(default_factory=dict)
    reclaimed_tokens: dict[str, int] = msgspec.field(default_factory=dict)
    leases: dict[str, int] = msgspec.field(default_factory=dict)
    hints: dict[str, int] = msgspec.field(default_factory=dict)
    account: ProgramAccount = msgspec.field(default_factory=ProgramAccount)


class EngineSnapshot(msgspec.Struct):
    """Answer of `GET /agentrt/programs`.

    Attributes:
        uptime_s: since the scheduler started.
        kv_tokens: capacity; free_tokens: holding nothing anyone needs; leased_tokens: under
            leases of idle programs; the rest belongs to running turns.
        price: of memory, engine seconds saved per token-second.
        states: programs by state.
        keys: leased tokens by API key.
        programs: the rows, running first, then by arrival; cut to `limit`.
    """

    policy: str
    uptime_s: float
    kv_tokens: int
    free_tokens: int
    leased_tokens: int
    running: int
    waiting: int
    max_running: int
    price: float
    states: dict[str, int]
    keys: dict[str, int]
    totals: Totals
    programs: list[ProgramRow]
