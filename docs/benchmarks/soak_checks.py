"""What must be so between two epochs of a soak, when nothing runs."""

from __future__ import annotations

import math
import random
import re
import time
from collections import Counter
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import anyio
import httpx2
import msgspec
from engines import BenchEngine, group_members
from soak_traffic import Traffic, random_tokens

from agentrt_engine.wire.hints import HINTS_PATH, MAX_HINTS
from agentrt_engine.wire.identity import FINAL, PROGRAM_ID
from agentrt_engine.wire.programs import PROGRAMS_PATH, EngineSnapshot

#: How long the engine may take to finish what clients left behind, seconds.
SETTLE_S = 60.0

PROBES = 4
PROBE_TOKENS = 24

#: What the log of a healthy engine does not have.
_ALARMS = re.compile(
    r"Traceback|leak|pool memory|Exception in|AssertionError|double free|use-after-free|segfault",
    re.IGNORECASE,
)

#: Lines that only look like it.
_HARMLESS = ("server_args=",)

#: Samples of the first part of a run do not count for the growth of memory.
WARM_UP = 1 / 3

_PAGE_MB = 4096 / 1e6


class Checks:
    """Looks an idle engine over and notes what is wrong in the journal.

    Attributes:
        done: checks by name.
        totals: counters of the last snapshot.
    """

    def __init__(self, under_test: BenchEngine, traffic: Traffic, seed: int) -> None:
        self._engine = under_test
        self._traffic = traffic
        self._journal = traffic.journal
        self.done: Counter[str] = Counter()
        self.totals: dict[str, Any] = {}
        rng = random.Random(f"{seed}/probes")
        prefix = random_tokens(rng, 64)
        self._prompts = [
            (prefix if at % 2 else []) + random_tokens(rng, 40 + 60 * at) for at in range(PROBES)
        ]
        self._answers: list[list[int]] = []

    async def remember_answers(self) -> None:
        """What a fresh engine answers to the probes, cold and cached."""
        async with self._traffic.client(self._traffic.keys[0]) as client:
            self._answers = [await self._probe(client, prompt) for prompt in self._prompts]
            await self._compare(client, "cached")

    async def run(self, *, flush_first: bool) -> None:
        """Everything.

        Args:
            flush_first: flush the cache while programs hold KV, or only after they have ended.
        """
        async with self._traffic.client(self._traffic.keys[0]) as client:
            idle = await self._settled(client)
            self._check_snapshot(idle)
            await self._compare(client, "as it is")
            if flush_first:
                await self._flush(client, "with leases")
                self._check_snapshot(await self._settled(client))
            await self._end_all()
            ended = await self._settled(client)
            self._check_ended(ended)
            await self._flush(client, "without leases")
            self._check_ended(await self._settled(client))
            await self._compare(client, "cold")
            await self._compare(client, "cached")
            await self._compare_at_once(client)
            await self._end_all()
            self._check_ended(await self._settled(client))
            self.totals = msgspec.to_builtins(ended.totals)

    async def state(self) -> str:
        """What the engine is at, and the end of its log: where a soak cannot go on."""
        try:
            async with self._traffic.client(self._traffic.keys[0], timeout_s=10) as client:
                now = await self._snapshot(client)
            at = (
                f"running {now.running}, waiting {now.waiting}, states {now.states}, free "
                f"{now.free_tokens} of {now.kv_tokens}, leased {now.leased_tokens}"
            )
        except (httpx2.HTTPError, msgspec.MsgspecError) as error:
            at = f"no snapshot: {type(error).__name__}: {error}"
        lines = self._engine.log_path.read_text(errors="replace").splitlines()
        return "\n".join([at, *(line[:200] for line in lines[-4:])])

    def read_log(self) -> None:
        """Look for alarms in the engine's log, and whether its processes are there."""
        names = group_members(self._engine.pid).values()
        self._expect("processes", any("schedul" in name for name in names), f"left: {[*names]}")
        lines = self._engine.log_path.read_text(errors="replace").splitlines()
        alarms = [
            at
            for at, line in enumerate(lines)
            if _ALARMS.search(line) and not any(words in line for words in _HARMLESS)
        ]
        excerpts = ["\n".join(lines[at : at + 30]) for at in alarms[:3]]
        self._expect("log", not alarms, f"{len(alarms)} alarms:\n" + "\n…\n".join(excerpts))

    # Parts.

    async def _settled(self, client: httpx2.AsyncClient) -> EngineSnapshot:
        """The engine as soon as nothing runs or waits."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            now = await self._snapshot(client)
            if not now.running and not now.waiting:
                return now
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{now.running} running and {now.waiting} waiting {SETTLE_S:.0f} s after the "
                    f"last client left; states {now.states}"
                )
            await anyio.sleep(0.2)

    async def _snapshot(self, client: httpx2.AsyncClient) -> EngineSnapshot:
        response = await client.get(f"{PROGRAMS_PATH}?limit=10000")
        response.raise_for_status()
        return msgspec.json.decode(response.content, type=EngineSnapshot)

    def _check_snapshot(self, idle: EngineSnapshot) -> None:
        """Nothing runs; programs may hold KV."""
        locked = idle.kv_tokens - idle.free_tokens
        by_key = sum(idle.keys.values())
        # What several contexts share is nobody's own, so leases may add up to less.
        self._expect(
            "memory adds up",
            0 <= idle.leased_tokens <= locked and by_key == idle.leased_tokens,
            f"leased {idle.leased_tokens} (by key {idle.keys}), free {idle.free_tokens} of "
            f"{idle.kv_tokens}",
        )
        live = idle.totals.programs_started - sum(idle.totals.programs_ended.values())
        known = sum(idle.states.values())
        self._expect(
            "programs add up",
            known == live and not set(idle.states) - {"paused"},
            f"started less ended {live}, states {idle.states}",
        )

    def _check_ended(self, idle: EngineSnapshot) -> None:
        """Every program was ended: nothing is left of any."""
        self._check_snapshot(idle)
        self._expect(
            "table empty",
            not idle.states and not idle.programs,
            f"states {idle.states}, rows {[row.program_id for row in idle.programs[:5]]}",
        )
        self._expect(
            "nothing held",
            not idle.leased_tokens and idle.free_tokens == idle.kv_tokens,
            f"leased {idle.leased_tokens}, free {idle.free_tokens} of {idle.kv_tokens} although "
            "no program is left",
        )

    async def _end_all(self) -> None:
        """Each key ends all its programs by hints."""
        for key in self._traffic.keys:
            async with self._traffic.client(key) as client:
                rows = (await self._snapshot(client)).programs
                ids = [row.program_id for row in rows]
                for first in range(0, len(ids), MAX_HINTS):
                    hints = [
                        {"program_id": each, "kind": "ended"}
                        for each in ids[first : first + MAX_HINTS]
                    ]
                    response = await client.post(HINTS_PATH, content=msgspec.json.encode(hints))
                    response.raise_for_status()
                    outcomes = Counter(outcome["outcome"] for outcome in response.json())
                    self._expect("ended by hint", set(outcomes) <= {"applied"}, f"{outcomes}")
        self._traffic.recent.clear()

    async def _flush(self, client: httpx2.AsyncClient, how: str) -> None:
        response = await client.post("/flush_cache")
        self._expect(f"flush {how}", response.status_code == httpx2.codes.OK, response.text)
        after = await self._snapshot(client)
        self._expect(
            "flush empties",
            not after.leased_tokens and after.free_tokens == after.kv_tokens,
            f"leased {after.leased_tokens}, free {after.free_tokens} of {after.kv_tokens}",
        )

    async def _compare(self, client: httpx2.AsyncClient, how: str) -> None:
        for at, prompt in enumerate(self._prompts):
            self._same(at, await self._probe(client, prompt), how)

    async def _compare_at_once(self, client: httpx2.AsyncClient) -> None:
        """The probes in one batch."""

        async def probe(at: int) -> None:
            self._same(at, await self._probe(client, self._prompts[at]), "in a batch")

        async with anyio.create_task_group() as group:
            for at in range(PROBES):
                group.start_soon(probe, at)

    def _same(self, at: int, tokens: list[int], how: str) -> None:
        expected = self._answers[at]
        self._expect(f"same answer {how}", tokens == expected, f"probe {at}: {tokens}, {expected}")

    async def _probe(self, client: httpx2.AsyncClient, prompt: list[int]) -> list[int]:
        sampling = {"temperature": 0, "max_new_tokens": PROBE_TOKENS, "ignore_eos": True}
        body = {"input_ids": prompt, "sampling_params": sampling}
        headers = {PROGRAM_ID: "probe", FINAL: "true"}
        response = await client.post("/generate", json=body, headers=headers)
        response.raise_for_status()
        tokens: list[int] = response.json()["output_ids"]
        return tokens

    def _expect(self, check: str, holds: bool, found: str) -> None:
        self.done[check] += 1
        if not holds:
            self._journal.defect(f"{check}: {found}")


def resident_mb(group: int) -> dict[str, float]:
    """Resident memory of the processes of a group that matter, MB, by name."""
    resident = {}
    for pid, name in group_members(group).items():
        with suppress(OSError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            role = "http" if pid == group else "scheduler" if "schedul" in name else ""
            if role:
                resident[role] = pages * _PAGE_MB
    return resident


def growth(samples: list[tuple[float, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Slope of a line through the samples after the warm-up, and its standard error."""
    figures = {}
    samples = samples[int(len(samples) * WARM_UP) :]
    for name in sorted(set(chain.from_iterable(resident for _, resident in samples))):
        points = [(at / 3600, mb[name]) for at, mb in samples if name in mb]
        if len(points) < 3:
            continue
        mean_x = sum(x for x, _ in points) / len(points)
        mean_y = sum(y for _, y in points) / len(points)
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
        residual = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
        figures[name] = {
            "first_mb": round(points[0][1], 1),
            "last_mb": round(points[-1][1], 1),
            "mb_per_hour": round(slope, 1),
            "error_mb_per_hour": round(math.sqrt(residual / (len(points) - 2) / spread), 1),
        }
    return figures
