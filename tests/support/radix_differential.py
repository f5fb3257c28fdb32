"""Holds, trims and moves leases on SGLang's own tree and on the one that is written to be read.

    python radix_differential.py SEED… > report.json

In a process of its own, because the compatibility layer changes torch.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CAPACITY = 4000
OPERATIONS = 150


def compare(seeds: list[int]) -> dict[str, int]:
    """Run the comparison in a child; how many operations of each kind agreed."""
    done = subprocess.run(
        [sys.executable, "-P", __file__, *map(str, seeds)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report: dict[str, int] = json.loads(done.stdout)
    return report


def _main() -> None:
    with contextlib.redirect_stdout(sys.stderr):
        report: dict[str, int] = {}
        for seed in map(int, sys.argv[1:]):
            for name, count in _compare(seed).items():
                report[name] = report.get(name, 0) + count
    json.dump(report, sys.stdout)


def _real_cache(page_size: int) -> Any:
    import torch
    from sglang.srt.mem_cache.allocator.token import TokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.unified_cache.component_type import ComponentType

    from agentrt_engine.sglang.scheduler.radix_cache import ProgramRadixCache

    allocator = TokenToKVPoolAllocator(CAPACITY, torch.float32, "cpu", object(), False)
    params = CacheInitParams(
        disable=False,
        req_to_token_pool=SimpleNamespace(mamba_allocator=None),
        token_to_kv_pool_allocator=allocator,
        page_size=page_size,
    )
    params.tree_components = (ComponentType.FULL,)
    return ProgramRadixCache(params)


def _insert(cache: Any, tokens: list[int]) -> Any:
    """A turn leaves its KV in the real tree, and gives back what was there already."""
    import torch
    from sglang.srt.mem_cache.base_prefix_cache import InsertParams
    from sglang.srt.mem_cache.radix_cache import RadixKey

    from agentrt_engine.sglang.scheduler.tree import Place, Prefix

    values = cache.token_to_kv_pool_allocator.alloc(len(tokens)).to(torch.int64)
    key = RadixKey(array("q", tokens))
    result = cache.insert(InsertParams(key=key, value=values, prev_prefix_len=0))
    return Place(Prefix(array("q", tokens)), len(tokens), result.last_device_node)


def _compare(seed: int) -> dict[str, int]:
    from agentrt_engine.policy import Program
    from agentrt_engine.sglang import launch  # noqa: F401 - it prepares the process
    from agentrt_engine.sglang.scheduler.idle_kv import IdleKv
    from tests.support.token_trie import TokenTrie

    draw = random.Random(seed)
    trees = (_real_cache(1), TokenTrie(CAPACITY))
    kvs = tuple(IdleKv(tree) for tree in trees)
    programs: list[Program] = []
    counts: dict[str, int] = {}
    for _ in range(OPERATIONS):
        what = draw.choice(["hold", "hold", "trim", "trim", "move", "release"])
        if what == "hold" or not programs:
            what = "hold"
            tokens = [0] * draw.choice([0, 5]) + [draw.randrange(3) for _ in range(30)]
            program = Program(str(len(programs)), len(programs), 0.0)
            programs.append(program)
            for kv, place in zip(
                kvs, (_insert(trees[0], tokens), trees[1].insert(tokens)), strict=True
            ):
                kv.hold(program, "", place.prefix, place.length, place.node)
        else:
            program = draw.choice(programs)
            held = [kv.get(program) for kv in kvs]
            if held[0] is None or held[1] is None:
                assert held[0] is held[1], "held in one tree only"
                continue
            if what == "trim":
                tokens_off = draw.randint(1, 40)
                freed = [
                    kv.trim(each, tokens_off)
                    for kv, each in zip(kvs, held, strict=True)
                    if each is not None
                ]
                assert freed[0] == freed[1], f"freed {freed}"
            elif what == "move":
                length = draw.randint(1, held[0].length)
                for kv, tree, each in zip(kvs, trees, held, strict=True):
                    if each is not None:
                        kv.move(each, each.prefix, length, tree.node_at(each.prefix, length))
            else:
                assert [kv.release(program) for kv in kvs] == [True, True]
        for kv in kvs:
            kv.measure_all()
        own = [{each.program.program_id: each.context.tokens for each in kv} for kv in kvs]
        assert own[0] == own[1], f"{what}: {own}"
        locked = [CAPACITY - tree.free_tokens() for tree in trees]
        assert locked[0] == locked[1], f"{what}: {locked}"
        with kvs[0].unlocked():
            trees[0].tree_core.sanity_check([], [])
        counts[what] = counts.get(what, 0) + 1
    for kv in kvs:
        for each in list(kv):
            kv.release(each.program)
    assert trees[0].protected_size() == 0, "a lock is left in the tree"
    return counts


if __name__ == "__main__":
    _main()
