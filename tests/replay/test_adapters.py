"""Adapters for the programs of a trace that has none, and the engine that serves them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from agentrt.errors import ReplayError
from agentrt.replay.adapters import count_adapters, with_adapters
from agentrt.replay.load import Closed
from agentrt.replay.replay_settings import SimulatedSettings
from agentrt.replay.simulated_replay import SimulatedReplay
from agentrt.replay.trace_file import Trace
from agentrt.replay.workload import make_workload
from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.simulated.profile import load_profile
from agentrt_engine.wire.trace import ProgramRecord
from tests.replay.trace_files import program, turn
from tests.replay.workloads import trace_of
from tests.simulated.fleets import fleet


def given(trace: Trace, number: int) -> dict[str, str | None]:
    return {each.program_id: each.adapter for each in with_adapters(trace, number).programs}


def begins(name: str, prefix: str | None, arrival_s: float | None = None) -> ProgramRecord:
    tokens = None if prefix is None else 64
    return program(
        name, turn(100, 100), prefix_id=prefix, prefix_tokens=tokens, arrival_s=arrival_s
    )


def test_programs_that_begin_alike_take_turns_by_arrival(tmp_path: Path) -> None:
    programs = [
        begins("late", "x", 9.0),
        begins("first", "x", 1.0),
        begins("other", "y", 2.0),
        begins("second", "x", 3.0),
        begins("other too", "y", 4.0),
    ]
    assert given(trace_of(tmp_path, programs), 2) == {
        "first": "adapter-1",
        "second": "adapter-2",
        "late": "adapter-1",
        "other": "adapter-2",
        "other too": "adapter-1",
    }


def test_programs_that_share_nothing_have_all_adapters(tmp_path: Path) -> None:
    unknown = [begins(f"p{index}", None) for index in range(6)]
    assert list(given(trace_of(tmp_path, unknown), 3).values()) == [
        f"adapter-{number}" for number in (1, 2, 3, 1, 2, 3)
    ]
    alone = [begins(f"p{index}", f"prefix {index}") for index in range(4)]
    assert len(set(given(trace_of(tmp_path, alone), 4).values())) == 4


def test_programs_whose_first_block_is_the_same_begin_alike(tmp_path: Path) -> None:
    blocks = {"a": (1, 2), "b": (7, 8), "c": (1, 3)}
    programs = [
        program(name, turn(128, 128, hash_ids=ids), block_tokens=64) for name, ids in blocks.items()
    ]
    found = given(trace_of(tmp_path, programs), 4)
    assert found == {"a": "adapter-1", "b": "adapter-2", "c": "adapter-2"}


def test_adapters_of_the_trace_are_not_replaced(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, [begins("a", None), program("b", turn(9, 9), adapter="coder")])
    with pytest.raises(ReplayError, match="program b has an adapter in the trace, 'coder'"):
        with_adapters(trace, 2)


def replay(folder: Path, *modes: LoraSharing) -> SimulatedReplay:
    """Two teams of four agents whose contexts fit the memory only if they are shared."""
    trace = trace_of(folder, fleet(2, context=4000, turns=2))
    settings = SimulatedSettings(
        load_profile("llama-3.1-8b-h200"),
        kv_tokens=16_000,
        adapters=count_adapters(trace.programs),
        lora_sharing=modes,
    )
    workload = make_workload(
        trace, kv_tokens=settings.memory_in_every_mode, page=16, pause_cap_s=None, sharing=modes[0]
    )
    load = Closed(8)
    lists = load.lists(workload, seeds=(1,), programs=24)
    return SimulatedReplay([trace.path], trace, workload, settings, load, lists, ["lru", "guard"])


def test_modes_follow_one_another_and_each_is_what_it_is_alone(tmp_path: Path) -> None:
    every = replay(tmp_path, *LoraSharing)
    seen: list[int] = []
    compared = every.run(workers=1, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == every.programs() == 4 * 4 * 24
    assert [row["lora_sharing"] for row in compared.rows[::5]] == list(LoraSharing)
    for at, mode in enumerate(LoraSharing):
        alone = replay(tmp_path, mode).run(workers=1, on_progress=lambda done: None)
        assert "lora_sharing" not in alone.rows[0]
        for row, single in zip(compared.rows[5 * at : 5 * at + 5], alone.rows, strict=True):
            assert row == single | {"lora_sharing": mode, "wall_s": row["wall_s"]}


def test_sharing_saves_prefill_under_pressure(tmp_path: Path) -> None:
    job = replay(tmp_path, LoraSharing.OFF, LoraSharing.BASE_LR)
    compared = job.run(workers=1, on_progress=lambda done: None)
    apart, together = compared.rows[:2], compared.rows[5:7]
    for before, after in zip(apart, together, strict=True):
        assert before["policy"] == after["policy"]
        work = [row["gpu_prefill_s"] + row["gpu_recompute_s"] for row in (before, after)]
        assert work[1] < 0.6 * work[0]


def test_the_low_rank_pool_takes_its_part_of_the_memory() -> None:
    off, base = LoraSharing.OFF, LoraSharing.BASE
    settings = SimulatedSettings(load_profile("llama-3.1-8b-h200"), 257_000, lora_sharing=(off,))
    assert settings.engine() == replace(settings, lora_sharing=(base,)).engine()
    adapted = replace(settings, adapters=4, lora_sharing=(off, base))
    assert adapted.engine().kv_tokens == 257_000
    assert adapted.engine(base).kv_tokens == adapted.memory_in_every_mode == 256_000
    # A step reads no more adapters than turns run.
    many = replace(adapted, adapters=1000, max_running=4)
    assert many.engine().costs == adapted.engine().costs


def test_the_command_names_what_is_not_usual(tmp_path: Path) -> None:
    usual = replay(tmp_path, LoraSharing.OFF)
    assert "lora" not in usual.command()
    several = replace(
        usual.settings, lora_sharing=(LoraSharing.OFF, LoraSharing.BASE), lora_rank=32, assigned=4
    )
    words = shlex.split(replace(usual, settings=several).command())
    assert words[words.index("--lora-sharing") + 1] == "off,base"
    assert words[words.index("--lora-rank") + 1] == "32"
    assert words[words.index("--adapters") + 1] == "4"
