"""A project of one function, with an issue: an instance that takes no network and half a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio

from agentrt.testing import ScriptedModel, Step, says
from agentrt_tools.bench.results import EntryResult
from agentrt_tools.swebench.data_set import load_tasks
from agentrt_tools.swebench.library import Library, Task
from agentrt_tools.swebench.mini import DEFAULT_CONFIG, SUBMIT, load_config
from agentrt_tools.swebench.run_instance import InstanceOptions, run_instance

_OLD = {
    "lib.py": "def add(a, b):\n    return a - b\n",
    "tests/test_lib.py": "from lib import add\n\n\ndef test_zero():\n    assert add(0, 0) == 0\n",
}
_NEW = {
    "lib.py": "def add(a, b):\n    return a + b\n",
    "tests/test_lib.py": _OLD["tests/test_lib.py"]
    + "\n\ndef test_one():\n    assert add(1, 1) == 2\n",
    "tests/test_more.py": "from lib import add\n\n\ndef test_two():\n    assert add(2, 2) == 4\n",
}

ROW: dict[str, Any] = {
    "instance_id": "agentrt__adder-1",
    "repo": "agentrt/adder",
    "version": "1",
    "problem_statement": "add(1, 1) is 0, expected 2.",
    "before": {"files": _OLD},
    "after": {"files": _NEW},
    "sources": ["lib.py"],
    "tests": ["tests"],
    "requirements": ["pytest==8.4.2"],
    "test_files": ["tests/test_lib.py", "tests/test_more.py"],
    "FAIL_TO_PASS": ["tests/test_lib.py::test_one", "tests/test_more.py::test_two"],
    "PASS_TO_PASS": ["tests/test_lib.py::test_zero"],
}

#: What mends it.
SOLUTION = "sed -i 's/a - b/a + b/' lib.py"
COLLECT = "git diff -- lib.py > patch.txt"
HAND_IN = f"echo {SUBMIT} && cat patch.txt"


def row(**fields: Any) -> dict[str, Any]:
    """The row with other fields."""
    return {**ROW, **fields}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    """A data set in a file of JSON lines."""
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def adder(folder: Path, **fields: Any) -> Task:
    """The instance with other fields."""
    [task] = load_tasks(str(written(folder / "data.jsonl", row(**fields))), "test")
    return task


def does(command: str) -> Step:
    """A reply with a command."""
    return says(f"THOUGHT: so.\n\n```mswea_bash_command\n{command}\n```")


def worked_on(
    task: Task,
    model: ScriptedModel,
    folder: Path,
    *,
    library: Library | None = None,
    **options: Any,
) -> EntryResult:
    """The result of an instance."""

    async def main() -> EntryResult:
        how = InstanceOptions(config=load_config(DEFAULT_CONFIG), folder=folder, **options)
        async with library or Library() as used, model.connect() as runtime:
            return await run_instance(runtime, used, task, None, how)

    return anyio.run(main)
