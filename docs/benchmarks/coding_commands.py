"""Records a trace of coding agents whose model is scripted and whose commands are real.

    .venv/bin/python docs/benchmarks/coding_commands.py --trace coding_commands.jsonl.gz
    agentrt predict eval coding_commands.jsonl.gz

Each program gets a copy of an installed package as a git repository. It looks around, reads, edits,
checks and commits, as coding agents do; which command comes next is drawn at random, what it takes
is measured. The trace holds the seconds of each command and its signature, `git log` or `ruff`.
"""

from __future__ import annotations

import importlib.util
import random
import shutil
from functools import cache
from pathlib import Path

import anyio
import anyio.to_thread
from cyclopts import run
from rich.console import Console
from rich.progress import Progress

from agentrt import Context, agent
from agentrt.testing import ScriptedModel, Step, answer, call
from agentrt.testing.scripted_model import ModelRequest
from agentrt_tools import bash, grep, read_file

PACKAGES = ("anyio", "httpx2", "pydantic", "rich", "starlette", "cyclopts", "jinja2", "networkx")

#: What agents run, and how often: {file}, {word} and {number} are drawn each time.
COMMANDS = {
    "git status --short": 6,
    "git log --oneline | head": 3,
    "git diff": 4,
    "git grep -n {word}": 5,
    "git add -A && git commit -qm 'Change {word}'": 4,
    "git stash && git stash pop": 1,
    "git gc -q": 1,
    "ls -R": 3,
    "find . -name '*.py' | wc -l": 3,
    "grep -rn {word} . | head -50": 6,
    "sed -n 1,120p {file}": 8,
    "cat {file}": 5,
    "wc -l {file}": 2,
    "sed -i 's/{word}/{word}_{number}/' {file}": 4,
    "python3 -m py_compile {file}": 4,
    "python3 -m compileall -qf .": 4,
    "python3 -c 'import ast,glob; [ast.parse(open(f).read()) for f in glob.glob(\"**/*.py\")]'": 3,
    "python3 -m tokenize {file} | tail -1": 2,
    "python3 -m tabnanny .": 2,
    "tar czf /dev/null .": 2,
}

WORDS = ("def", "self", "return", "Error", "import", "None", "name")

#: Model time of a turn, seconds.
THINKING_S = (0.02, 0.3)

CALLS = (6, 20)


@agent(tools=[bash, grep, read_file], max_turns=CALLS[1] + 1)
async def coder(ctx: Context, package: str, seed: int) -> str:
    """You work on a repository."""
    await anyio.to_thread.run_sync(_copy, package, ctx.workspace)
    await ctx.call(bash, command="git init -q && git add -A && git -c gc.auto=0 commit -qm first")
    return await ctx.loop(f"Improve {package}. ({seed})")


def _copy(package: str, workspace: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
    shutil.copytree(_folder(package), workspace, ignore=ignored, dirs_exist_ok=True)
    identity = "[user]\nname = coder\nemail = coder@example.invalid\n"
    (workspace / ".gitconfig").write_text(identity)


class Coders:
    """What the model says to each program, drawn from the seed in its prompt."""

    def __init__(self) -> None:
        self._drawn: dict[str, tuple[random.Random, str, int]] = {}

    def reply(self, asked: ModelRequest) -> Step:
        """The next command, or the end."""
        if asked.program_id not in self._drawn:
            prompt = asked.messages[1]["content"]
            rng = random.Random(prompt)
            package = prompt.partition("Improve ")[2].partition(".")[0]
            self._drawn[asked.program_id] = rng, package, rng.randint(*CALLS)
        rng, package, calls = self._drawn[asked.program_id]
        thinking = rng.uniform(*THINKING_S)
        if sum(message["role"] == "tool" for message in asked.messages) >= calls:
            return answer("Done.").after(thinking)
        return _draw(rng, package).after(thinking)


def _draw(rng: random.Random, package: str) -> Step:
    file = rng.choice(_files(package))
    word = rng.choice(WORDS)
    kind = rng.random()
    if kind < 0.1:
        return call("read_file", path=file)
    if kind < 0.15:
        return call("grep", pattern=word)
    [command] = rng.choices([*COMMANDS], [*COMMANDS.values()])
    filled = command.replace("{file}", file).replace("{word}", word)
    return call("bash", command=filled.replace("{number}", str(rng.randrange(100))))


@cache
def _files(package: str) -> list[str]:
    root = _folder(package)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.py"))


def _folder(package: str) -> Path:
    """Where it is installed."""
    found = importlib.util.find_spec(package)
    assert found is not None and found.submodule_search_locations, package
    return Path(found.submodule_search_locations[0])


def main(*, trace: Path, programs: int = 120, active: int = 2, seed: int = 1) -> None:
    """Record it.

    Args:
        trace: file for it.
        programs: to run; active: at once.
        seed: of what they do.
    """
    anyio.run(_record, trace, programs, active, seed)


async def _record(trace: Path, programs: int, active: int, seed: int) -> None:
    rng = random.Random(seed)
    room = anyio.CapacityLimiter(active)
    model = ScriptedModel(Coders().reply)
    console = Console(stderr=True)
    with Progress(console=console) as progress:
        task = progress.add_task("programs", total=programs)
        async with (
            model.connect(trace=trace) as runtime,
            anyio.create_task_group() as group,
        ):

            async def one(package: str, number: int) -> None:
                async with room:
                    await runtime.run(coder, package, number)
                progress.advance(task)

            for _ in range(programs):
                group.start_soon(one, rng.choice(PACKAGES), rng.getrandbits(32))


if __name__ == "__main__":
    run(main)
