"""Does with leases on SGLang's own tree what it does on the one that is written to be read.

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
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CAPACITY = 4000
OPERATIONS = 150

#: Of each tree core that SGLang has.
CORES = ["rust", "python"]


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


class _Real:
    """SGLang's own tree, and what its memory would hold.

    Attributes:
        written: per slot, the prefix whose last token's KV was written there last.
    """

    def __init__(self, page: int, core: str) -> None:
        import torch
        from sglang.srt.mem_cache.allocator.token import TokenToKVPoolAllocator
        from sglang.srt.mem_cache.cache_init_params import CacheInitParams
        from sglang.srt.mem_cache.unified_cache.component_type import ComponentType

        from agentrt_engine.sglang.scheduler.radix_cache import ProgramRadixCache

        self.allocator = TokenToKVPoolAllocator(CAPACITY, torch.float32, "cpu", object(), False)
        params = CacheInitParams(
            disable=False,
            req_to_token_pool=SimpleNamespace(mamba_allocator=None),
            token_to_kv_pool_allocator=self.allocator,
            page_size=page,
            tree_core_backend=core,
        )
        params.tree_components = (ComponentType.FULL,)
        self.cache = ProgramRadixCache(params)
        self.written: dict[int, tuple[int, ...]] = {}

    def insert(self, tokens: list[int]) -> Any:
        """A turn leaves its KV, whole pages, and gives back what was there already."""
        import torch
        from sglang.srt.mem_cache.base_prefix_cache import InsertParams
        from sglang.srt.mem_cache.radix_cache import RadixKey

        from agentrt_engine.sglang.scheduler.tree import Place, Prefix

        length = len(tokens) // self.cache.page_size * self.cache.page_size
        values = self.allocator.alloc(length).to(torch.int64)
        for at, slot in enumerate(values.tolist(), start=1):
            self.written[slot] = tuple(tokens[:at])
        key = RadixKey(array("q", tokens[:length]))
        result = self.cache.insert(InsertParams(key=key, value=values, prev_prefix_len=0))
        return Place(Prefix(array("q", tokens)), length, result.last_device_node)

    def check(self, kv: Any) -> None:
        """Every slot is in one place, and holds what its place says."""
        free = [*self.allocator.free_pages.tolist(), *self.allocator.release_pages.tolist()]
        segments = [each.segment for each in kv if each.segment is not None]
        aside = [slot for each in segments for slot in each.slots.tolist()]
        in_tree = self.cache.all_values_flatten().tolist()
        assert sorted([*free, *aside, *in_tree]) == list(range(1, CAPACITY + 1))
        for held in kv:
            slots = self.cache.path_device_indices(held.node).tolist()
            where = dict(enumerate(slots, start=1))
            if held.segment is not None:
                where |= dict(enumerate(held.segment.slots.tolist(), start=held.segment.start + 1))
            for at, slot in where.items():
                assert self.written[slot] == tuple(held.prefix.tokens[:at]), f"token {at}"
        with kv.unlocked():
            self.cache.tree_core.sanity_check([], [])


def _compare(seed: int) -> dict[str, int]:
    from agentrt_engine.policy import Program
    from agentrt_engine.sglang import launch  # noqa: F401 - it prepares the process
    from agentrt_engine.sglang.scheduler.idle_kv import IdleKv
    from tests.support.token_trie import TokenTrie

    draw = random.Random(seed)
    page = draw.choice([1, 4])
    real = _Real(page, CORES[seed % len(CORES)])
    trees: tuple[Any, Any] = (real.cache, TokenTrie(CAPACITY, page))
    inserts = (real.insert, trees[1].insert)
    fronts = draw.random() < 0.7
    kvs = tuple(IdleKv(tree, fronts=fronts) for tree in trees)
    serial = count()
    counts: dict[str, int] = {}
    for _ in range(OPERATIONS):
        what = draw.choice(["hold", "hold", "trim", "front", "front", "return", "move", "release"])
        if what == "hold" or not len(kvs[0]):
            what = "hold"
            tokens = [0] * draw.choice([0, 5]) + [draw.randrange(3) for _ in range(30)]
            number = next(serial)
            program = Program(str(number), number, 0.0)
            for kv, insert in zip(kvs, inserts, strict=True):
                place = insert(tokens)
                kv.hold(program, "", place.prefix, place.length, place.node)
        else:
            program = draw.choice(list(kvs[0])).program
            held: list[Any] = [kv.get(program) for kv in kvs]
            assert None not in held, "held in one tree only"
            if what in ("trim", "front"):
                tokens_off = draw.randint(1, 40 if what == "trim" else 20)
                freed = []
                for kv, each in zip(kvs, held, strict=True):
                    take = kv.trim if what == "trim" else kv.trim_front
                    freed.append(take(each, tokens_off))
                assert freed[0] == freed[1], f"freed {freed}"
                cut = kvs[1].get(program)
                what += " to a hole" if cut is not None and cut.segment is not None else ""
            elif what == "return":
                reach = draw.choice([held[0].end, draw.randint(0, held[0].end)])
                for kv, insert, each in zip(kvs, inserts, held, strict=True):
                    what = _return(kv, insert, each, reach)
            elif what == "move":
                length = draw.randint(0, held[0].length // page) * page
                for kv, tree, each in zip(kvs, trees, held, strict=True):
                    if length or each.segment is not None:
                        kv.move(each, each.prefix, length, tree.node_at(each.prefix, length))
            else:
                assert [kv.release(program) for kv in kvs] == [True, True]
        for kv in kvs:
            kv.measure_all()
        own = [
            {
                each.program.program_id: (
                    each.context.start,
                    each.context.hole,
                    each.context.tokens,
                )
                for each in kv
            }
            for kv in kvs
        ]
        assert own[0] == own[1], f"{what}: {own}"
        free = [tree.free_tokens() for tree in trees]
        assert free[0] == free[1], f"{what}: {free}"
        real.check(kvs[0])
        counts[what] = counts.get(what, 0) + 1
    wanted = draw.randint(1, CAPACITY)
    real.cache.clear_tokens(wanted)
    assert real.allocator.available_size() >= min(wanted, real.cache.free_tokens())
    real.check(kvs[0])  # nothing that is held went
    for kv in kvs:
        for each in list(kv):
            kv.release(each.program)
    assert real.cache.protected_size() == kvs[0].side.tokens == 0, "a lock is left in the tree"
    assert real.cache.free_tokens() == CAPACITY
    return counts


def _return(kv: Any, insert: Callable[[list[int]], Any], held: Any, reach: int) -> str:
    """A turn goes on from what is held, up to `reach`: it computes the hole, if there is one."""
    from agentrt_engine.sglang.scheduler.tree import Prefix

    tokens = [*held.prefix.tokens[:reach], 7]
    kv.fit(held, Prefix(array("q", tokens)), reach)
    if held.segment is None:
        return "return"
    insert(tokens[: held.segment.start])
    end = held.segment.end
    kv.move(held, held.prefix, end, kv.fill(held))
    return "return over a hole"


if __name__ == "__main__":
    _main()
