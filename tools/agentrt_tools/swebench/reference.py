"""A model that works on an instance like somebody who knows the solution: it checks the rest."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import partial

from agentrt.testing import Step, says
from agentrt_tools.bench.replayed import ReplayedModel
from agentrt_tools.swebench.instance import Instance
from agentrt_tools.swebench.mini import SUBMIT

_FILE = re.compile(r"^(?:\+\+\+ b|--- a)/(.+)$", re.MULTILINE)
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))?", re.MULTILINE)

#: Lines around a change that are looked at.
_AROUND = 20


def reference_commands(instance: Instance, *, gold: bool) -> Iterator[tuple[str, str]]:
    """Thoughts and commands in order, to the one that hands in.

    Args:
        gold: the solution is handed in; otherwise nothing is.
    """
    # With the status git looks at all files anew, or none would be as in its index.
    yield "First I look around.", "git log --oneline | head -3 && git status --short && ls -a"
    if gold:
        for part in re.split(r"^diff --git ", instance.patch, flags=re.MULTILINE)[1:]:
            name, hunks = _FILE.search(part), _HUNK.findall(part)
            if name is None or "\n--- /dev/null" in part:
                continue
            begin = max(1, int(hunks[0][0]) - _AROUND)
            end = int(hunks[-1][0]) + int(hunks[-1][1] or 1) + _AROUND
            shown = f"nl -ba {shlex.quote(name[1])} | sed -n {begin},{end}p"
            yield f"I read the part of {name[1]} that this is about.", shown
        if instance.local is not None:
            yield "How do the tests do before I change anything?", instance.local.test_command
        text = instance.patch.removesuffix("\n")
        change = f"git apply --index - <<'END_OF_CHANGE'\n{text}\nEND_OF_CHANGE"
        yield "Now I make the change.", change
        if instance.local is not None:
            yield "And after it?", instance.local.test_command
        yield "I collect what I changed.", "git diff --cached --binary > patch.txt"
    else:
        yield "I change nothing.", "touch patch.txt"
    yield "I hand it in.", f"echo {SUBMIT} && cat patch.txt"


def reference_steps(instance: Instance, *, gold: bool) -> Iterator[Step]:
    """Its replies; see `reference_commands`."""
    for thought, command in reference_commands(instance, gold=gold):
        yield says(f"THOUGHT: {thought}\n\n```mswea_bash_command\n{command}\n```")


class ReferenceModel(ReplayedModel[Instance]):
    """Replies with the commands of each instance.

    Args:
        gold: see `reference_commands`.
    """

    def __init__(self, *, gold: bool) -> None:
        super().__init__(partial(reference_steps, gold=gold))
