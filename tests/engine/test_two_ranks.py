"""Tensor-parallel ranks decide alike, whatever their clocks say."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import anyio
import httpx2
import pytest

from agentrt.replay.live import EngineAddress, LiveRun, open_engine, replay_live
from agentrt.replay.program_list import ProgramList
from agentrt_engine.sglang.options import EngineOptions, engine_options
from agentrt_engine.sglang.ports import free_port
from agentrt_engine.wire.programs import PROGRAMS_PATH
from tests.engine.small_workload import KV_TOKENS, PROGRAMS, plans
from tests.support import rank_probe
from tests.support.processes import Command


@dataclass(frozen=True)
class Found:
    """A replay on two ranks.

    Attributes:
        lost_tokens: that the policy took from idle programs.
        batches: what each rank ran.
    """

    run: LiveRun
    lost_tokens: int
    batches: list[list[str]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("ranks")
    chosen = engine_options(port=free_port(), policy="guard", kv_tokens=KV_TOKENS)
    variables = chosen.flag("ranks").environment() | {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "SGLANG_CPU_OMP_THREADS_BIND": "0|1",
        rank_probe.FOLDER_VARIABLE: str(folder),
    }
    small = ["--tp-size", "2", "--json-model-override-args", '{"num_hidden_layers": 4}']
    command = [sys.executable, rank_probe.__file__, *chosen.sglang_arguments(), *small]
    with Command(*command, folder=folder, **variables) as engine:
        engine.until("The server is fired up and ready to roll!")
        run, lost = anyio.run(replayed, chosen)
    return Found(run, lost, [(folder / f"rank{rank}").read_text().splitlines() for rank in (0, 1)])


async def replayed(options: EngineOptions) -> tuple[LiveRun, int]:
    programs = ProgramList(1, tuple(range(PROGRAMS)), tuple(0.1 * n for n in range(PROGRAMS)))
    async with open_engine(EngineAddress(options.url)) as engine:
        run = await replay_live(plans(), engine, programs)
    async with httpx2.AsyncClient(base_url=options.url) as client:
        totals = (await client.get(PROGRAMS_PATH)).json()["totals"]
    return run, totals["account"]["lost_tokens"]


def test_every_program_ends(found: Found) -> None:
    assert found.run.failures == []
    assert found.lost_tokens > 0


def test_the_ranks_run_the_same_batches(found: Found) -> None:
    first, second = found.batches

    # How many there are depends on when requests come.
    assert len(first) > 50
    # The last line may still be on its way.
    assert first[: len(second)] == second[: len(first)]
