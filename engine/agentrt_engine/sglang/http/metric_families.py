"""The metrics of an `EngineSnapshot`, as Prometheus has them.

Imports prometheus_client, and so only after SGLang has chosen its multiprocess folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import CollectorRegistry

from agentrt_engine.wire.programs import EngineSnapshot


class SnapshotCollector:
    """Metrics of one snapshot."""

    def __init__(self, snapshot: EngineSnapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Gauges, then counters."""
        yield from _gauges(self._snapshot)
        yield from _counters(self._snapshot)


def registry_of(snapshot: EngineSnapshot) -> CollectorRegistry:
    """A registry with these metrics alone."""
    registry = CollectorRegistry()
    collector: Any = SnapshotCollector(snapshot)  # no subclass, as any collector may be
    registry.register(collector)
    return registry


def _gauges(now: EngineSnapshot) -> Iterator[Metric]:
    kv = {
        "free": now.free_tokens,
        "leased": now.leased_tokens,
        "running": now.kv_tokens - now.free_tokens - now.leased_tokens,
    }
    turns = {"running": now.running, "waiting": now.waiting}
    yield _gauge("agentrt_kv_tokens", "KV cache, tokens, by what holds them", "kind", kv)
    yield _gauge("agentrt_programs", "Live programs", "state", now.states)
    yield _gauge("agentrt_turns", "Requests in the engine", "state", turns)
    yield _gauge("agentrt_leased_tokens", "Tokens under leases of idle programs", "key", now.keys)
    yield GaugeMetricFamily(
        "agentrt_memory_price",
        "Price of KV memory: engine seconds saved per token-second",
        value=now.price,
    )


def _counters(now: EngineSnapshot) -> Iterator[Metric]:
    total = now.totals
    account = total.account
    prompt = {
        "hit": total.hit_tokens,
        "lost": total.lost_tokens,
        "miss": total.prompt_tokens - total.hit_tokens - total.lost_tokens,
    }
    pauses = {
        "actual": total.pause_s,
        "predicted": total.predicted_pause_s,
        "abs_error": total.pause_error_s,
    }
    seconds = {
        "prefill": account.prefill_s,
        "recompute": account.recompute_s,
        "decode": account.decode_s,
        "held": account.held_price_s,
    }
    for name, text, label, values in (
        ("agentrt_programs_ended", "Programs that ended", "reason", total.programs_ended),
        ("agentrt_reclaims", "Leases that yielded", "reason", total.reclaims),
        ("agentrt_reclaimed_tokens", "Tokens of them", "reason", total.reclaimed_tokens),
        ("agentrt_leases", "What became of leases", "event", total.leases),
        ("agentrt_hints", "Hints", "outcome", total.hints),
        (
            "agentrt_prompt_tokens",
            "Prompt tokens: found, computed again after a loss, computed for the first time",
            "kind",
            prompt,
        ),
        (
            "agentrt_pause_seconds",
            "Pauses that had a prediction, their predicted medians, and the differences",
            "kind",
            pauses,
        ),
        (
            "agentrt_account_seconds",
            "Engine seconds of all programs; held: memory kept while paused, at its price",
            "kind",
            seconds,
        ),
    ):
        yield _counter(name, text, label, values)
    for name, text, value in (
        ("agentrt_programs_started", "Programs that reached the engine", total.programs_started),
        ("agentrt_turns_ended", "Turns that ended", total.turns),
        ("agentrt_retractions", "Running turns put back for lack of memory", total.retractions),
        ("agentrt_flushes", "Times the whole cache was emptied", total.flushes),
        ("agentrt_output_tokens", "Tokens generated", total.output_tokens),
        ("agentrt_pauses", "Pauses that had a prediction", total.pauses),
        ("agentrt_held_token_seconds", "Token-seconds kept while paused", account.held_token_s),
    ):
        yield CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value_of, value in values.items():
        family.add_metric([value_of], value)
    return family


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value_of, value in values.items():
        family.add_metric([value_of], value)
    return family
