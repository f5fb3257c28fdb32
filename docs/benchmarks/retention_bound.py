"""How near to free retention any policy can come: a bound from the trace alone, and `guard`.

    export AGENTRT_WORKLOADS=…
    .venv/bin/python docs/benchmarks/retention_bound.py --json retention_bound.json

A run takes T seconds: P of prefill, R of prefilling evicted tokens again, and S steps with decoding
turns. With a step of fixed + decode·(KV tokens in the batch) and A = Σ over steps of those tokens,

    T ≥ P + R + decode·A + fixed·S                                                    (time)

However large S is, memory holds at every moment what decodes, what is prefilled and what is kept
for paused programs. With C tokens of memory, I = Σ kept tokens·pause, and Q = token-seconds of
prompts while they are prefilled:

    C·T ≥ I + Q + (token-seconds of the decoding batch)                             (memory)
    N·T ≥ Σ pauses + P + R + (turn-seconds of the decoding batch)                 (programs)
    T ≥ end of the list if every program took as long as alone on the engine         (queue)

A policy chooses which token is kept in which pause: what it evicts moves from I to R. The least R
for a given I evicts, of all pauses, the tokens with the most pause per second of prefill first.
T is least over that frontier, for a policy that knows everything.

*strict* takes for the token-seconds of decoding only what cannot be less: prefill happens while
nothing decodes. *mixed* assumes that the batch is as large during prefill as on average, so that
they are T·A/S, and turn-seconds T·(output tokens)/S. Both leave out: waits for admission with KV,
the end of the run with fewer programs than N, pages begun, steps that only prefill, not
knowing the future. They suppose that programs share no KV and there is no host memory.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

from cyclopts import run
from rich.table import Table
from simulations import (
    Subject,
    console,
    load_subject,
    machine,
    progress,
    reference_cells,
    workloads_folder,
    write_json,
)

from agentrt.replay.matrix import Run, run_one
from agentrt.replay.program_list import ProgramList, drawn_list
from agentrt_engine.outcome import Occupancy, RunOutcome
from agentrt_engine.policy.protocol import Costs
from agentrt_engine.simulated.clock import seconds
from agentrt_engine.simulated.workload import ProgramPlan

#: Thresholds of pause per second of prefill that the frontier is searched over.
MOST, LEAST = 1e9, 1e2
POINTS = 36
REFINEMENTS = 18


@dataclass(frozen=True, slots=True)
class Work:
    """What a list of programs needs, whatever the policy.

    Attributes:
        prefill_s: P.
        decode_token_steps: A.
        decode_turn_steps: Σ over steps of decoding turns.
        prefill_token_s: Q.
        pauses: seconds, and the tokens that the next turn begins with.
        queue_s: end of the list if every program took as long as alone.
    """

    programs: int
    prefill_s: float
    decode_token_steps: float
    decode_turn_steps: float
    prefill_token_s: float
    pauses: list[tuple[float, int]]
    queue_s: float

    @classmethod
    def of(cls, plans: Sequence[ProgramPlan], costs: Costs, queue_s: float) -> Work:
        prefill_s = token_steps = turn_steps = token_s = 0.0
        pauses = []
        for plan in plans:
            for turn, after in zip(plan.turns, [*plan.turns[1:], None], strict=True):
                first, last, steps = turn.reusable_tokens, turn.input_tokens, turn.output_tokens - 1
                prefill_s += costs.prefill(first, last)
                token_s += resident(costs, last) - resident(costs, first)
                token_steps += steps * last + steps * (steps - 1) / 2
                turn_steps += steps
                if after is not None:
                    pauses.append((seconds(turn.pause), after.reusable_tokens))
        return cls(len(plans), prefill_s, token_steps, turn_steps, token_s, pauses, queue_s)

    @property
    def pause_s(self) -> float:
        return sum(pause for pause, _tokens in self.pauses)


@dataclass(frozen=True, slots=True)
class Bound:
    """A lower bound of the time a run takes.

    Args:
        capacity: tokens.
        concurrency: programs active at most.
        mixed: assume the mean batch during prefill.
    """

    work: Work
    costs: Costs
    capacity: int
    concurrency: int
    mixed: bool

    def throughput(self, *, kept: bool | None = None) -> float:
        """Programs per 1,000 seconds at most.

        Args:
            kept: keep everything (True), for nothing (False: free retention), or what is best.
        """
        if kept is None:
            least = self._least_s()
        else:
            least = self._time_s(self._held(math.inf)[0] if kept else 0.0, 0.0)
        return 1000 * self.work.programs / max(least, self.work.queue_s)

    def _least_s(self) -> float:
        """Over the frontier: a grid, then golden sections around its best point."""
        low, high = math.log(LEAST), math.log(MOST)
        step = (high - low) / POINTS
        grid = [low + step * at for at in range(POINTS + 1)]
        best = min(grid, key=self._at)
        a, b = best - step, best + step
        ratio = (math.sqrt(5) - 1) / 2
        for _ in range(REFINEMENTS):
            left, right = b - ratio * (b - a), a + ratio * (b - a)
            if self._at(left) < self._at(right):
                b = right
            else:
                a = left
        return min(self._at(best), self._at((a + b) / 2), self._at(math.inf))

    def _at(self, log_threshold: float) -> float:
        return self._time_s(*self._held(math.exp(log_threshold)))

    def _held(self, threshold: float) -> tuple[float, float]:
        """I and R if every token with more pause per second of prefill is evicted."""
        costs = self.costs
        held = again = 0.0
        for pause, tokens in self.work.pauses:
            evicted = (pause / threshold - costs.prefill_s) / costs.position_s
            front = min(max(0.0, evicted), tokens)
            held += pause * (tokens - front)
            again += costs.prefill_s * front + costs.position_s * front * front / 2
        return held, again

    def _time_s(self, held: float, again: float) -> float:
        """The least T, by bisection."""
        low = self.work.prefill_s + again + self.costs.decode_s * self.work.decode_token_steps
        high = low + 1.0
        while not self._feasible(high, held, again):
            high *= 2
        for _ in range(48):
            middle = (low + high) / 2
            low, high = (low, middle) if self._feasible(middle, held, again) else (middle, high)
        return high

    def _feasible(self, time: float, held: float, again: float) -> bool:
        """Whether the steps that `time` leaves room for suffice for memory and programs."""
        work, costs = self.work, self.costs
        prefill = work.prefill_s + again
        attention = costs.decode_s * work.decode_token_steps
        steps = (time - prefill - attention) / costs.fixed_s
        if steps <= 0:
            return False
        mean_tokens = work.decode_token_steps / steps
        if self.mixed:
            tokens, turns = time * mean_tokens, time * work.decode_turn_steps / steps
        else:
            # Longer steps hold more, so this is the least (Chebyshev's sum inequality).
            tokens = (costs.fixed_s * steps + attention) * mean_tokens
            turns = costs.fixed_s * work.decode_turn_steps + attention
        return (
            held + work.prefill_token_s + tokens <= self.capacity * time
            and work.pause_s + prefill + turns <= self.concurrency * time
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """Shares of the capacity, means over time.

    Attributes:
        running: of turns in the batch.
        kept: of programs between two turns.
        free: holding nothing.
    """

    running: float
    kept: float
    free: float


@dataclass(frozen=True, slots=True)
class Result:
    """Programs per 1,000 s of one list.

    Attributes:
        free, guard: simulated, `oracle-retention` and `guard`.
        mixed_free, strict_free: bounds of free retention.
        mixed_all: keeping everything.
        mixed, strict: bounds of any policy.
        batch: mean KV of `guard`'s batch over time, over its mean over steps.
    """

    seed: int
    free: float
    guard: float
    mixed_free: float
    strict_free: float
    mixed_all: float
    mixed: float
    strict: float
    memory: Memory
    batch: float


def main(*, seeds: int = 5, long: int = 1500, json: Path | None = None) -> None:
    """Compute the bounds, run both policies and print the tables.

    Args:
        seeds: lists of each cell, of 300 programs.
        long: programs of one more list, in which the end of the run matters less.
        json: file for the figures of each list.
    """
    folder = workloads_folder()
    lists: dict[str, list[Result]] = {}
    longer: dict[str, list[Result]] = {}
    for cell in reference_cells(folder):
        if cell.concurrency:
            progress(f"{cell.workload} …")
            subject = load_subject(folder, cell.workload, cell.kv_tokens)
            one = [drawn_list(len(subject.simulation.plans), long, seed=1)]
            lists[cell.workload] = measured(subject, subject.lists(cell, seeds), cell.concurrency)
            longer[cell.workload] = measured(subject, one, cell.concurrency)
    for results in (lists, longer):
        console.print(table(results), "")
    if json is not None:
        report: dict[str, Any] = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "simulated": True,
            "long": long,
            **{
                name: {
                    workload: [asdict(result) for result in rows]
                    for workload, rows in results.items()
                }
                for name, results in (("lists", lists), ("long_lists", longer))
            },
        }
        write_json(json, report)


def measured(subject: Subject, lists: Sequence[ProgramList], concurrency: int) -> list[Result]:
    """Bounds and simulated figures of each list."""
    settings = subject.simulation.settings
    results = []
    for programs in lists:
        plans = [subject.simulation.plans[at] for at in programs.programs]
        free, guard = (
            run_one(
                subject.simulation,
                Run(policy, programs, concurrency, record=policy == "guard"),
                lambda _ended: None,
            )
            for policy in ("oracle-retention", "guard")
        )
        queue_s = list_end([program.isolated_s for program in free.programs], concurrency)
        work = Work.of(plans, settings.costs, queue_s)
        mixed, strict = (
            Bound(work, settings.costs, settings.kv_tokens, concurrency, mixed=choice)
            for choice in (True, False)
        )
        memory = occupied(guard.timeline.occupancy if guard.timeline else [])
        results.append(
            Result(
                programs.seed,
                free=throughput(free),
                guard=throughput(guard),
                mixed_free=mixed.throughput(kept=False),
                strict_free=strict.throughput(kept=False),
                mixed_all=mixed.throughput(kept=True),
                mixed=mixed.throughput(),
                strict=strict.throughput(),
                memory=memory,
                batch=memory.running * settings.kv_tokens / (work.decode_token_steps / guard.steps),
            )
        )
        progress(f"  {len(programs)} programs, seed {programs.seed}")
    return results


def list_end(durations: Iterable[float], concurrency: int) -> float:
    """When the last of them ends if each starts as soon as fewer than that many run."""
    ends: list[float] = []
    for duration in durations:
        start = heapq.heappop(ends) if len(ends) == concurrency else 0.0
        heapq.heappush(ends, start + duration)
    return max(ends)


def resident(costs: Costs, end: int) -> float:
    """Token-seconds of a prompt while its tokens up to `end` are prefilled."""
    return costs.prefill_s * end**2 / 2 + costs.position_s * end**3 / 3


def occupied(samples: Sequence[Occupancy]) -> Memory:
    """Means over time, each sample until the next."""
    total = samples[-1].time_s - samples[0].time_s

    def over_time(values: Iterable[float]) -> float:
        gaps = [b.time_s - a.time_s for a, b in pairwise(samples)]
        return sum(value * gap for value, gap in zip(values, gaps, strict=False)) / total

    size = [s.running + s.leased + s.cached + s.free for s in samples]
    return Memory(
        over_time(s.running / n for s, n in zip(samples, size, strict=True)),
        over_time((s.leased + s.cached) / n for s, n in zip(samples, size, strict=True)),
        over_time(s.free / n for s, n in zip(samples, size, strict=True)),
    )


def throughput(outcome: RunOutcome) -> float:
    """Programs per 1,000 seconds."""
    return 1000 * len(outcome.programs) / outcome.makespan_s


def table(results: dict[str, list[Result]]) -> Table:
    """Means over the lists, programs per 1,000 s and ratios."""
    rows: dict[str, list[tuple[str, str]]] = {
        "simulated": [("free retention", "free"), ("guard", "guard")],
        "mixed bound": [
            ("free retention", "mixed_free"),
            ("keep everything", "mixed_all"),
            ("any policy", "mixed"),
        ],
        "strict bound": [("free retention", "strict_free"), ("any policy", "strict")],
    }
    ratios = [
        ("guard / free", "guard", "free"),
        ("mixed any / mixed free", "mixed", "mixed_free"),
        ("mixed any / simulated free", "mixed", "free"),
        ("strict any / simulated free", "strict", "free"),
        ("guard / mixed any", "guard", "mixed"),
        ("simulated free / mixed free", "free", "mixed_free"),
    ]
    view = Table(box=None, pad_edge=False, collapse_padding=True)
    view.add_column("", no_wrap=True)
    for name in results:
        view.add_column(name.replace("_", " "), justify="right")
    view.add_column("geometric\nmean", justify="right")
    for group, lines in rows.items():
        view.add_row(group)
        for label, field in lines:
            cells = [fmean(getattr(r, field) for r in runs) for runs in results.values()]
            view.add_row(f"  {label}", *(f"{value:.1f}" for value in cells))
    view.add_row("ratios")
    for label, above, below in ratios:
        cells = [
            fmean(getattr(r, above) / getattr(r, below) for r in runs) for runs in results.values()
        ]
        view.add_row(f"  {label}", *(f"{x:.3f}" for x in [*cells, geometric_mean(cells)]))
    view.add_row("memory under guard")
    for field in ("running", "kept", "free"):
        cells = [fmean(getattr(r.memory, field) for r in runs) for runs in results.values()]
        view.add_row(f"  {field}", *(f"{value:.2f}" for value in cells))
    batch = [fmean(r.batch for r in runs) for runs in results.values()]
    view.add_row("  batch over time / over steps", *(f"{value:.2f}" for value in batch))
    return view


if __name__ == "__main__":
    run(main)
