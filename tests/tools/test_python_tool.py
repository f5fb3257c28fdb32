"""`python`, as a model meets it."""

from __future__ import annotations

from agentrt import ToolOutcome
from agentrt_tools import Limits, bash_tool, python, python_tool
from tests.tools.test_builtin_tools import use, write


def test_it_gives_what_is_printed() -> None:
    code = 'import sys\nprint("hi", 1 + 1)\nprint("oh", file=sys.stderr)'
    assert use(python, code=code) == ("hi 2\noh", ToolOutcome.FINISHED)


def test_it_works_in_the_workspace() -> None:
    shown, _ = use(python, write({"in.txt": "7"}), code='print(open("in.txt").read())')
    assert shown == "7"


def test_an_exception_is_shown_with_its_line() -> None:
    shown, outcome = use(python, code="x = 1\nx / 0")
    assert outcome is ToolOutcome.FINISHED
    assert "ZeroDivisionError" in shown and "line 2" in shown
    assert shown.endswith("[exit code 1]")


def test_nothing_of_the_runtime_can_be_imported() -> None:
    shown, _ = use(python, code="import agentrt")
    assert "ModuleNotFoundError" in shown


def test_limits_of_ones_own() -> None:
    busy = python_tool(limits=Limits(cpu_s=0.5))
    shown, _ = use(busy, code="while True: pass")
    assert shown == "[stopped: it used more than 0.5 s of CPU]"
    shown, _ = use(bash_tool(limits=Limits(cpu_s=0.5)), command="while :; do :; done")
    assert shown == "[stopped: it used more than 0.5 s of CPU]"


def test_a_long_program_fits_the_schema() -> None:
    code = "\n".join(f"print({number})" for number in range(300))
    shown, outcome = use(python, code=code)
    assert outcome is ToolOutcome.FINISHED and shown.endswith("299")
