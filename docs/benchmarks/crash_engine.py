"""Runs on a real engine that are killed with SIGKILL: what is left of processes and leases?

A boss starts workers; each speaks, waits for commands in the sandbox, and speaks again. Every
second run that was killed is resumed to its end, the others are left alone.
"""

from __future__ import annotations

import json
import random
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import msgspec
from crash_kills import run_command
from engines import engine

from agentrt import Context, agent
from agentrt.journal.store import FILE_NAME
from agentrt_engine.wire.programs import PROGRAMS_PATH, EngineSnapshot
from agentrt_tools import bash

KV_TOKENS = 6_144

#: A program that says nothing for so long has ended, for the engine.
IDLE_S = 8.0

#: A model of a fifth of the layers.
OPTIONS = ("--json-model-override-args", '{"num_hidden_layers": 6}')

WORKERS = 3
ROUNDS = 3

#: How long a command may live before it is killed, and its processes after it, seconds.
LIFE_S = (1.0, 6.0)
GONE_S = 2.0


@agent(tools=[bash], max_tokens=16, temperature=0.0)
async def worker(ctx: Context, name: str, mark: str) -> int:
    """You wait."""
    for number in range(ROUNDS):
        await ctx.say(f"{name}, speak for the {number + 1}. time.")
        await ctx.call(bash, command=f"sleep 0.7 {mark} & sleep 0.5 {mark}; wait")
    return ROUNDS


@agent
async def boss(ctx: Context, names: list[str], mark: str) -> list[int]:
    """You lead."""
    return await ctx.gather(*(ctx.spawn(worker, name, mark) for name in names))


@dataclass
class EngineKills:
    """What was found.

    Attributes:
        kills: commands that were killed; in_tools: while commands ran in their sandboxes;
            with_leases: while the engine held KV for a program that waited.
        resumed: runs that were killed and finished later; left: runs that were not resumed.
    """

    kills: int = 0
    in_tools: int = 0
    with_leases: int = 0
    resumed: int = 0
    left: int = 0
    defects: list[str] = field(default_factory=list)


def kill_on_engine(most: int, seed: int) -> EngineKills:
    """Kill so many commands that use an engine of their own, and look at it in the end."""
    with engine("guard", kv_tokens=KV_TOKENS, options=OPTIONS, idle_s=IDLE_S) as under_test:
        found = kill_and_look(under_test.url, most, seed)
        time.sleep(IDLE_S + 2)
        now = _snapshot(under_test.url)
        if now.states or now.leased_tokens or now.free_tokens != now.kv_tokens:
            found.defects.append(
                f"left at the engine: states {now.states}, leased {now.leased_tokens}, free "
                f"{now.free_tokens} of {now.kv_tokens}"
            )
    return found


def kill_and_look(url: str, most: int, seed: int) -> EngineKills:
    """Kill so many commands that use this engine; what was resumed may leave nothing there."""
    rng = random.Random(seed)
    found = EngineKills()
    while found.kills < most:
        with tempfile.TemporaryDirectory() as folder:
            _one_run(Path(folder), url, rng, found)
    return found


def _one_run(folder: Path, url: str, rng: random.Random, found: EngineKills) -> None:
    mark = f"0.00000{rng.randrange(10**9):09}"  # seconds, and a word that no other process has
    given = json.dumps({"names": [f"worker {n}" for n in range(WORKERS)], "mark": mark})
    begin = ["run", f"{__file__}:boss", "--url", url, "--input", given]
    state = folder / "state"

    def before_kill() -> None:
        found.in_tools += bool(_marked(mark))
        found.with_leases += _snapshot(url).leased_tokens > 0

    code, said = run_command(begin, folder, state, rng.uniform(*LIFE_S), before_kill)
    if code == 0:
        return
    if code != -signal.SIGKILL:
        found.defects.append(f"exit code {code}: {said}")
        return
    found.kills += 1
    deadline = time.monotonic() + GONE_S
    while _marked(mark):
        if time.monotonic() > deadline:
            found.defects.append(f"{GONE_S:g} s after the kill there are {_marked(mark)}")
            break
        time.sleep(0.02)
    if found.kills % 2 or not list(state.glob(f"runs/*/{FILE_NAME}")):
        found.left += 1
        return
    resume = ["resume", "last", "--url", url, "--json", "result.json"]
    code, said = run_command(resume, folder, state)
    if code != 0:
        found.defects.append(f"exit code {code} of the resumption: {said}")
        return
    found.resumed += 1
    finished = json.loads((folder / "result.json").read_text())["programs"]
    at_engine = {row.program_id for row in _snapshot(url).programs}
    if left := at_engine & {program["program_id"] for program in finished}:
        found.defects.append(f"programs that finished are still at the engine: {left}")


def _marked(mark: str) -> dict[int, str]:
    """Processes whose command lines hold the mark, but for those of agentrt itself."""
    marked = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if mark in line and ":boss" not in line:
                marked[int(file.parent.name)] = line[:100]
    return marked


def _snapshot(url: str) -> EngineSnapshot:
    response = httpx2.get(f"{url}{PROGRAMS_PATH}?limit=10000", timeout=60)
    response.raise_for_status()
    return msgspec.json.decode(response.content, type=EngineSnapshot)
