"""Main module of an engine whose contexts lose parts of themselves as a test says.

    python front_probe.py FOLDER < request.json > report.json

A process of its own, because the compatibility layer changes torch. SGLang's scheduler is a spawned
process, and Python imports the main module anew there: that is how the test gets at it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypedDict
from unittest.mock import patch

from agentrt_engine.sglang import launch  # noqa: F401 - it prepares the process

#: How long turns wait decides about pins, and pinned contexts lose tails.
POLICY = """
from agentrt_engine.policy import EngineView, Program
from agentrt_engine.policy.asym import Asym

class AsymWithoutPins(Asym):
    name = "asym-without-pins"

    def pin_s(self, program: Program, engine: EngineView) -> float:
        return 0.0
"""
KV_TOKENS = 1_024
CHUNK_TOKENS = 64
VOCABULARY = 40_000

#: Of the run under pressure.
PROGRAMS, TURNS = 8, 3

#: Log-probabilities are compared of so many tokens at each position.
TOP = 8


class Exactness(TypedDict):
    """A turn whose context had a hole, next to the same turn computed from nothing.

    Attributes:
        what: the kind of hole, and where.
        cached: tokens that the engine says it did not compute; expected: those it had.
        same_text: whether the outputs are equal.
        difference: the largest of any log-probability, relative to it if that is beyond 1.
    """

    what: str
    cached: int
    expected: int
    same_text: bool
    difference: float


class Pressure(TypedDict):
    """Many programs at once in a memory that does not hold them.

    Attributes:
        same_text: per turn that may have a hole, whether its text is that of the prompt alone in
            an empty engine.
        cuts: contexts that lost their front; put_back: turns that went on behind a hole.
        held: tokens that are held once all programs have ended.
    """

    same_text: list[bool]
    cuts: int
    put_back: int
    held: int


class Report(TypedDict):
    """What the engine did. Its scheduler ends it when memory is lost.

    Attributes:
        refusals: what an engine that computes every prompt in one piece says to policies.
    """

    exact: list[Exactness]
    aborted: Exactness
    pressure: Pressure
    refusals: dict[str, str]


def probe(folder: Path, model: Path, seed: int, *, page: int = 1) -> Report:
    """Run everything in a child."""
    from agentrt_engine.sglang.flag import EngineFlag

    policy = folder / "asym_without_pins.py"
    policy.write_text(POLICY)
    flag = EngineFlag(policy=str(policy), instance="fronts").environment()
    done = subprocess.run(
        [sys.executable, "-P", __file__, folder],
        input=json.dumps({"model": str(model), "seed": seed, "page": page}),
        capture_output=True,
        text=True,
        env={**os.environ, **flag, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-5000:]
    report: Report = json.loads(done.stdout.splitlines()[-1])
    return report


# In the scheduler.


class Scalpel:
    """Methods of the scheduler that the test calls from its own process."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._abort = False
        self._counts = {"cuts": 0, "put_back": 0}
        idle = self._state.idle
        self._count(idle, "cut", "cuts")
        self._count(idle, "put_back", "put_back")

    @property
    def _state(self) -> Any:
        return self._scheduler.tree_cache.programs.state

    def _count(self, owner: Any, method: str, name: str) -> None:
        original = getattr(owner, method)

        def counted(*args: Any) -> Any:
            self._counts[name] += 1
            return original(*args)

        setattr(owner, method, counted)

    def _held(self, program: str) -> Any:
        return self._state.idle.get(self._state.table.find("", program).program)

    def cut(self, program: str, first: int, kept: int) -> None:
        """Make a hole in the idle context of a program."""
        self._state.idle.cut(self._held(program), first, kept)

    def trim(self, program: str, front: int, tail: int) -> None:
        """Take tokens off both of its ends."""
        if front:
            self._state.idle.trim_front(self._held(program), front)
        if tail:
            self._state.idle.trim(self._held(program), tail)

    def abort_next(self) -> None:
        """Call off the next turn that computes a hole, between its chunks."""
        self._abort = True

    def after_batch(self) -> None:
        """A batch was launched."""
        from agentrt_engine.sglang.scheduler.radix_cache import turn_of

        req = self._scheduler.chunked_req
        turn = None if req is None else turn_of(req)
        if self._abort and turn is not None and turn.segment is not None:
            self._abort = False
            self._scheduler._pending_chunked_abort_req = req

    def note(self, path: str) -> None:
        """Write what is held, and what was counted."""
        cache, allocator = self._scheduler.tree_cache, self._scheduler.token_to_kv_pool_allocator
        sizes = (allocator.available_size(), cache.evictable_size(), cache.protected_size())
        assert sum(sizes) == self._scheduler.max_total_num_tokens, sizes
        cache.sanity_check()
        content = {**self._counts, "held": cache.protected_size()}
        Path(path).write_text(json.dumps(content))


def _attach(_result: None, scheduler: Any) -> None:
    scheduler.scalpel = scalpel = Scalpel(scheduler)
    for name in ("cut", "trim", "abort_next", "note"):
        setattr(scheduler, f"test_{name}", getattr(scalpel, name))


def _after_batch(_result: Any, scheduler: Any, *_args: Any) -> None:
    scheduler.scalpel.after_batch()


# In the test's child.


class Client:
    """Asks the engine."""

    def __init__(self, engine: Any, folder: Path, draw: random.Random, page: int) -> None:
        self._engine = engine
        self._note = folder / "note.json"
        self._draw = draw
        self._page = page
        self._programs = 0

    def exactness(self, kind: str) -> Exactness:
        """One context with a hole that is put to use."""
        draw, page = self._draw, self._page
        self._programs += 1
        program = f"p{self._programs}"
        prompt = self._tokens(draw.randint(60, 240))
        context = prompt + self._generated(prompt, program)["output_ids"]
        end = (len(context) - 1) // page * page
        first, kept = sorted(draw.sample(range(0, end // page), 2))
        if kind == "front":
            first = 0
        first, kept = first * page, kept * page
        self._call("cut", program=program, first=first, kept=kept)
        start = kept
        following = context + self._tokens(draw.randint(1, 40))
        if kind == "trimmed at both ends":
            at_front, at_tail = (draw.randint(0, (end - kept) // page // 3) * page for _ in "ab")
            self._call("trim", program=program, front=at_front, tail=at_tail)
            # What the tree has of its own goes first, and can still be found there.
            start, end = kept + max(at_front - first, 0), end - at_tail
        elif kind == "filled by somebody":
            self._generated(context[: draw.randint(kept, end)] + self._tokens(3), None)
            first = start
        elif kind == "filled in part by somebody":
            filled = draw.randint(first, kept)
            self._generated(context[:filled] + self._tokens(3), None)
            first = max(first, filled // page * page)
        elif kind == "goes on otherwise":
            end = draw.randint(kept + 1, end)
            following = context[:end] + self._tokens(20)
            end = end // page * page
        elif kind == "aborted":
            self._call("abort_next")
        answer = self._generated(following, program)
        if kind == "aborted":
            assert answer["meta_info"]["finish_reason"]["type"] == "abort", answer["meta_info"]
            answer = self._generated(following, program)
            start = end  # the part behind the hole is gone
        self.noted()
        self.flush()
        alone = self._generated(following, None)
        self.flush()
        return {
            "what": f"{kind}: {first} to {start} of {end}, then {len(following)}",
            "cached": answer["meta_info"]["cached_tokens"],
            "expected": first + end - start,
            "same_text": answer["output_ids"] == alone["output_ids"],
            "difference": _difference(answer, alone),
        }

    def pressure(self) -> Pressure:
        """Programs of several turns at the same time, then each prompt alone."""
        asked = self._engine.loop.run_until_complete(self._programs_at_once())
        noted = self.noted()
        same = []
        for prompt, output in asked:
            self.flush()
            same.append(self._generated(prompt, None)["output_ids"] == output)
        return {"same_text": same, **noted}  # type: ignore[typeddict-item]

    async def _programs_at_once(self) -> list[tuple[list[int], list[int]]]:
        """The prompts and outputs of their turns but the first."""
        asked: list[tuple[list[int], list[int]]] = []
        draw, shared = self._draw, self._tokens(32)
        contexts = [shared + self._tokens(draw.randint(60, 120)) for _ in range(PROGRAMS)]
        for turn in range(TURNS):
            final = turn == TURNS - 1
            answers = await asyncio.gather(
                *(
                    self._asked(context, f"q{number}", final=final)
                    for number, context in enumerate(contexts)
                )
            )
            for number, answer in enumerate(answers):
                if turn:
                    asked.append((contexts[number], answer["output_ids"]))
                fresh = self._tokens(draw.randint(60, 100))
                contexts[number] = contexts[number] + answer["output_ids"] + fresh
        return asked

    def flush(self) -> None:
        """Empty the cache. SGLang does so only once it has noticed that nothing is under way."""
        while not self._engine.flush_cache().success:
            pass

    def noted(self) -> dict[str, int]:
        """What the scheduler holds; all of its memory is accounted for."""
        self._call("note", path=str(self._note))
        content: dict[str, int] = json.loads(self._note.read_text())
        return content

    def _tokens(self, count: int) -> list[int]:
        return [self._draw.randrange(VOCABULARY) for _ in range(count)]

    def _generated(self, prompt: list[int], program: str | None) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.generate(**_request(prompt, program))
        return answer

    async def _asked(self, prompt: list[int], program: str, *, final: bool) -> dict[str, Any]:
        request = _request(prompt, program, final=final)  # in the task whose program it is
        answer: dict[str, Any] = await self._engine.async_generate(**request)
        return answer

    def _call(self, method: str, **arguments: Any) -> None:
        self._engine.collective_rpc(f"test_{method}", **arguments)


def _request(prompt: list[int], program: str | None, *, final: bool = False) -> dict[str, Any]:
    from agentrt_engine.sglang.http import identity
    from agentrt_engine.wire.identity import ProgramTag

    # As if it came by HTTP.
    tag = ProgramTag(program or "", final=final)
    identity._current.set(identity.Identity("", tag, None))
    return {
        "input_ids": prompt,
        "sampling_params": {"max_new_tokens": 6, "temperature": 0, "ignore_eos": True},
        "return_logprob": True,
        "top_logprobs_num": TOP,
    }


def _difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    worst = 0.0
    for mine, theirs in zip(
        one["meta_info"]["output_top_logprobs"],
        other["meta_info"]["output_top_logprobs"],
        strict=True,
    ):
        first, second = ({token: value for value, token, _text in each} for each in (mine, theirs))
        if first.keys() != second.keys():
            return float("inf")
        for token, value in first.items():
            worst = max(worst, abs(value - second[token]) / max(1.0, abs(value)))
    return worst


KINDS = [
    *("front", "anywhere", "anywhere", "anywhere", "anywhere"),
    *("trimmed at both ends", "trimmed at both ends", "filled by somebody"),
    *("filled in part by somebody", "filled in part by somebody"),
    *("goes on otherwise", "goes on otherwise"),
]


def _refusals() -> dict[str, str]:
    from agentrt_engine.errors import SettingError
    from agentrt_engine.policy import make_live_policy
    from agentrt_engine.sglang.scheduler import factory

    args = SimpleNamespace(
        dp_size=1,
        pp_size=1,
        dcp_size=1,
        disaggregation_mode="null",
        speculative_algorithm=None,
        enable_deterministic_inference=False,
    )
    context = SimpleNamespace(
        server_args=args,
        disable_radix_cache=False,
        is_hybrid_swa=False,
        is_hybrid_ssm=False,
        enable_hierarchical_cache=False,
    )
    in_one_piece = SimpleNamespace(chunked_prefill_size=-1)
    refusals = {}
    for policy in ("asym", "guard", "guard:fronts=yes"):
        refusals[policy] = ""
        with patch.object(factory, "get_schedule", lambda: in_one_piece):
            try:
                factory._require_support(context, make_live_policy(policy))
            except SettingError as error:
                refusals[policy] = str(error)
    return refusals


def _main() -> None:
    import sglang

    request = json.load(sys.stdin)
    make: Callable[..., Any] = sglang.Engine
    with contextlib.redirect_stdout(sys.stderr):
        engine = make(
            model_path=request["model"],
            device="cpu",
            dtype="float32",
            attention_backend="agentrt",
            sampling_backend="pytorch",
            grammar_backend="none",
            disable_cuda_graph=True,
            disable_overlap_schedule=True,
            mem_fraction_static=0.5,
            max_total_tokens=KV_TOKENS,
            max_running_requests=4,
            chunked_prefill_size=CHUNK_TOKENS,
            page_size=request["page"],
            radix_cache_backend="agentrt",
            json_model_override_args='{"num_hidden_layers": 4}',
        )
        client = Client(engine, Path(sys.argv[1]), random.Random(request["seed"]), request["page"])
        exact = [client.exactness(kind) for kind in KINDS]
        aborted = client.exactness("aborted")
        pressure = client.pressure()
        engine.shutdown()
    report: Report = {
        "exact": exact,
        "aborted": aborted,
        "pressure": pressure,
        "refusals": _refusals(),
    }
    json.dump(report, sys.stdout)


if __name__ in ("__main__", "__mp_main__"):
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    _SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
    HookRegistry.register(f"{_SCHEDULER}.init_request_dispatcher", _attach, HookType.AFTER)
    HookRegistry.register(f"{_SCHEDULER}.run_batch", _after_batch, HookType.AFTER)
if __name__ == "__main__":
    _main()
