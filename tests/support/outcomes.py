"""Outcomes of replays that look like real ones, made from a seed without any engine."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from agentrt.replay.report import SweepPoint
from agentrt_engine.outcome import (
    Activity,
    Occupancy,
    PauseRecord,
    ProgramOutcome,
    RunOutcome,
    Segment,
    Timeline,
)

CAPACITY = 400_000
#: Tool name, median seconds, spread of the logarithm, weight.
_TOOLS = (("bash", 1.2, 1.3, 6), ("pytest", 14.0, 0.8, 2), ("edit", 0.05, 0.5, 4))


@dataclass(frozen=True, slots=True)
class Manner:
    """How a policy behaves: how often paused KV is lost, how long turns wait, what is leased."""

    loss: float
    wait_s: float
    leases: bool = False
    to_juniors: float = 0.5


_MANNERS = {
    "lru": Manner(0.75, 9.0, to_juniors=0.6),
    "lpm": Manner(0.55, 7.0),
    "program-fcfs": Manner(0.6, 8.0),
    "continuum:reading=strict": Manner(0.12, 5.0, leases=True, to_juniors=0.4),
    "infercept": Manner(0.1, 4.0, leases=True),
    "guard": Manner(0.04, 2.0, leases=True, to_juniors=0.0),
    "oracle-retention": Manner(0.0, 1.2, leases=True),
    "infinite-kv": Manner(0.0, 0.6),
}
POLICIES = list(_MANNERS)


@dataclass(frozen=True, slots=True)
class _Turn:
    new_tokens: int
    output_tokens: int
    tool: str
    pause_s: float


@dataclass(frozen=True, slots=True)
class _Plan:
    arrival_s: float
    turns: list[_Turn]


def run(policy: str, seed: int, *, programs: int = 60, timeline: bool = True) -> RunOutcome:
    """A run of `programs` programs; the programs and arrivals depend on the seed alone."""
    plans = _plans(seed, programs)
    rng = random.Random(f"{policy!a} {seed}")
    manner = _MANNERS.get(policy, Manner(0.3, 4.0))
    outcomes = [
        ProgramOutcome(f"program-{i:04}", ("coder", "reviewer")[i % 2], plan.arrival_s)
        for i, plan in enumerate(plans)
    ]
    segments: list[Segment] = []
    pauses: list[PauseRecord] = []
    for i, plan in enumerate(plans):
        _walk(i, plan, outcomes, manner, rng, segments, pauses)
    capacity = None if policy == "infinite-kv" else CAPACITY
    made = RunOutcome(
        policy, seed, outcomes, capacity, steps=1000 * programs, wall_s=0.01 * programs
    )
    made.makespan_s = max((o.end_s or 0.0 for o in outcomes), default=0.0)
    if timeline:
        made.timeline = Timeline(segments, _occupancy(segments, outcomes, manner, capacity), pauses)
    return made


def _plans(seed: int, programs: int) -> list[_Plan]:
    rng = random.Random(seed)
    plans: list[_Plan] = []
    arrival_s = 0.0
    for _ in range(programs):
        arrival_s += rng.expovariate(0.2)
        turns = [_turn(rng, first=k == 0) for k in range(rng.randint(2, 14))]
        plans.append(_Plan(arrival_s, turns))
    return plans


def _turn(rng: random.Random, *, first: bool) -> _Turn:
    tool, median_s, spread, _ = rng.choices(_TOOLS, [t[3] for t in _TOOLS])[0]
    pause_s = min(300.0, rng.lognormvariate(math.log(median_s), spread))
    new_tokens = int(rng.lognormvariate(9.0 if first else 6.5, 0.6))
    return _Turn(new_tokens, rng.randint(20, 600), tool, pause_s)


def _walk(
    index: int,
    plan: _Plan,
    outcomes: list[ProgramOutcome],
    manner: Manner,
    rng: random.Random,
    segments: list[Segment],
    pauses: list[PauseRecord],
) -> None:
    """Take one program from its arrival to its end."""
    me, now, context, lost = outcomes[index], plan.arrival_s, 0, 0
    for k, turn in enumerate(plan.turns):
        asked_s = now
        now = _spend(segments, index, Activity.QUEUED, k, now, rng.expovariate(1 / manner.wait_s))
        prefill_s, recompute_s = turn.new_tokens * 20e-6, lost * 20e-6
        now = _spend(segments, index, Activity.PREFILL, k, now, prefill_s + recompute_s + 0.01)
        me.ttft_s.append(now - asked_s)
        decode_s = turn.output_tokens * 0.008
        now = _spend(segments, index, Activity.DECODE, k, now, decode_s)
        me.new_tokens += turn.new_tokens
        me.reusable_tokens += context
        me.hit_tokens += context - lost
        me.output_tokens += turn.output_tokens
        me.account.prefill_s += prefill_s
        me.account.recompute_s += recompute_s
        me.account.decode_s += decode_s / 8
        me.isolated_s += prefill_s + decode_s
        context += turn.new_tokens + turn.output_tokens
        lost = 0
        if k < len(plan.turns) - 1:
            kind = Activity.CHILDREN if rng.random() < 0.05 else Activity.TOOL
            begun_s, now = now, _spend(segments, index, kind, k, now, turn.pause_s)
            pauses.append(_record(turn, rng))
            me.isolated_s += turn.pause_s
            me.account.held_token_s += context * turn.pause_s
            me.account.held_price_s += context * turn.pause_s * (1e-7 if manner.leases else 4e-8)
            if rng.random() < manner.loss:
                segments[-1].evicted_s = begun_s + turn.pause_s * rng.uniform(0.05, 0.9)
                lost = int(context * rng.uniform(0.3, 1.0))
                _charge(index, lost, outcomes, manner, rng)
    me.turns, me.end_s = len(plan.turns), now


def _spend(
    segments: list[Segment], program: int, kind: Activity, turn: int, now: float, length_s: float
) -> float:
    segments.append(Segment(program, kind, turn, now, now + length_s))
    return now + length_s


def _record(turn: _Turn, rng: random.Random) -> PauseRecord:
    median_s, spread = next((m, s) for name, m, s, _ in _TOOLS if name == turn.tool)
    p50_s = median_s * rng.lognormvariate(0.0, 0.3)
    return PauseRecord(turn.tool, turn.pause_s, p50_s, p50_s * math.exp(1.645 * spread))


def _charge(
    victim: int, tokens: int, outcomes: list[ProgramOutcome], manner: Manner, rng: random.Random
) -> None:
    """Name one that gained: near in arrival, later with the policy's frequency."""
    if tokens == 0:
        return
    away = 1 + min(int(rng.expovariate(0.15)), len(outcomes))
    other = victim + away if rng.random() < manner.to_juniors else victim - away
    if not 0 <= other < len(outcomes):
        return
    me = outcomes[victim]
    gainer = outcomes[other].program_id
    me.lost_tokens += tokens
    me.account.lost_to[gainer] = me.account.lost_to.get(gainer, 0) + tokens


def _occupancy(
    segments: list[Segment], outcomes: list[ProgramOutcome], manner: Manner, capacity: int | None
) -> list[Occupancy]:
    """Samples at every change; what does not fit the memory is taken from what is evictable."""
    changes: list[tuple[float, int, int]] = []  # time, which of the five counters, by how much
    for segment in segments:
        for begin_s, end_s, counter, amount in _held(segment, manner):
            changes += [(begin_s, counter, amount), (end_s, counter, -amount)]
    for outcome in outcomes:
        changes += [(outcome.arrival_s, 4, 1), (outcome.end_s or 0.0, 4, -1)]
    changes.sort()
    state, samples = [0] * 5, []
    for (time_s, counter, amount), (next_s, _, _) in pairwise([*changes, (math.inf, 0, 0)]):
        state[counter] += amount
        if next_s > time_s:
            running, leased, cached, waiting, active = state
            if capacity is not None:
                running = min(running, capacity)
                leased = min(leased, capacity - running)
                cached = min(cached, capacity - running - leased)
            free = 0 if capacity is None else capacity - running - leased - cached
            samples.append(Occupancy(time_s, running, leased, cached, free, waiting, active))
    return samples


def _held(segment: Segment, manner: Manner) -> list[tuple[float, float, int, int]]:
    """What a segment holds: from, to, counter (running, leased, cached, waiting), amount."""
    tokens = 9000 + 1500 * segment.turn
    start_s, end_s = segment.start_s, segment.end_s
    if segment.activity is Activity.QUEUED:
        return [(start_s, end_s, 3, 1)]
    if segment.activity in (Activity.PREFILL, Activity.DECODE):
        return [(start_s, end_s, 0, tokens)]
    if segment.evicted_s is not None:
        end_s = segment.evicted_s
    return [(start_s, end_s, 1 if manner.leases else 2, tokens)]


def document(runs: list[RunOutcome], *, kind: str = "simulated") -> dict[str, Any]:
    """A result in the shape of `agentrt.replay.v1`."""
    by_policy: dict[str, list[RunOutcome]] = {}
    for one in runs:
        by_policy.setdefault(one.policy, []).append(one)
    engine = {"kind": kind}
    engine |= (
        {"profile": "llama-3.1-8b-h200"} if kind == "simulated" else {"url": "http://gpu:30000"}
    )
    first = runs[0].programs if runs else []
    return {
        "schema": "agentrt.replay.v1",
        "workload": {
            "files": ["traces/coding.jsonl.gz"],
            "programs": len(first),
            "turns": sum(p.turns for p in first),
        },
        "engine": engine,
        "settings": {"kv_tokens": CAPACITY, "rate": 0.2, "chunk": 8192, "max_running": 256},
        "rows": [_row(policy, found) for policy, found in by_policy.items()],
    }


def _row(policy: str, runs: list[RunOutcome]) -> dict[str, Any]:
    programs = [p for one in runs for p in one.programs]
    jct = sorted(p.jct_s or 0.0 for p in programs)
    slowdown = sorted((p.jct_s or 0.0) / p.isolated_s for p in programs)
    missed = sum(p.reusable_tokens - p.hit_tokens for p in programs)
    return {
        "policy": policy,
        "seeds": [one.seed for one in runs],
        "programs": len(programs),
        "excluded": 0,
        "overloaded": policy == "lru",
        "jct_mean_s": fmean(jct),
        "jct_seed_means_s": [fmean(p.jct_s or 0.0 for p in one.programs) for one in runs],
        "jct_p50_s": _quantile(jct, 0.5),
        "jct_p95_s": _quantile(jct, 0.95),
        "jct_p99_s": _quantile(jct, 0.99),
        "slowdown_p99": _quantile(slowdown, 0.99),
        "slowdown_max": slowdown[-1],
        "ttft_mean_s": fmean(t for p in programs for t in p.ttft_s),
        "recomputed_per_new": missed / sum(p.new_tokens for p in programs),
        "hit_rate": 1 - missed / max(1, sum(p.reusable_tokens for p in programs)),
        "throughput_per_1000_s": 1000 * len(programs) / sum(one.makespan_s for one in runs),
        "wall_s": sum(one.wall_s for one in runs),
    }


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def sweep(policies: list[str], seeds: list[int]) -> list[SweepPoint]:
    """Throughput that rises with concurrency and falls where a policy loses its KV."""
    points: list[SweepPoint] = []
    for policy in policies:
        manner = _MANNERS.get(policy, Manner(0.3, 4.0))
        rng = random.Random(ascii(policy))
        for n in (1, 2, 4, 8, 16, 32, 64):
            pressure = max(0.0, math.log2(n / 8)) * manner.loss
            hits = [max(0.01, 0.98 - pressure * rng.uniform(0.45, 0.6)) for _ in seeds]
            full = 150 * n / (n + 5)
            rates = [full * (0.3 + 0.7 * h) * rng.uniform(0.95, 1.05) for h in hits]
            points.append(SweepPoint(policy, n, rates, hits))
    return points
