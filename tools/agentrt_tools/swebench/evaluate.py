"""Whether a patch resolves an instance: its tests, in a fresh checkout."""

from __future__ import annotations

import shlex
from pathlib import Path

import anyio
import msgspec

from agentrt_tools.bench.verdict import Verdict
from agentrt_tools.command import CommandResult
from agentrt_tools.swebench.grader import grade
from agentrt_tools.swebench.instance import Instance
from agentrt_tools.swebench.place import Place

#: As swebench tries them, in this order.
_APPLY = (
    "git apply --verbose",
    "git apply --verbose --3way",
    "git apply --verbose --reject",
    "patch --batch --forward --fuzz=5 -p1 -i",
)

_APPLY_TIMEOUT_S = 120.0

#: As swebench marks its logs.
_APPLIED = ">>>>> Applied Patch"
_NOT_APPLIED = ">>>>> Patch Apply Failed"
_TIMED_OUT = ">>>>> Tests Timed Out"
_END_OF_TESTS = ">>>>> End Test Output"
_EXIT_CODE = ">>>>> Test Exit Code"


async def evaluate(
    place: Place, instance: Instance, patch: str, timeout: float, folder: Path
) -> Verdict:
    """Apply a patch, run the tests and grade their log, which stays in the folder.

    Args:
        place: a checkout that nobody has touched.
        timeout: of the tests, seconds.
        folder: for patch, log and report, named as swebench names them.
    """
    await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
    await anyio.Path(folder, "patch.diff").write_text(patch)
    log = anyio.Path(folder, "test_output.txt")
    if patch.strip() and (said := await _not_applied(place, patch)):
        await log.write_text(f"{_NOT_APPLIED}\n{said}\n")
        return Verdict(False, "patch:not_applied", said.partition("\n\n")[0].strip())
    script = await place.put("eval.sh", _recording_exit_code(instance.eval_script))
    # With the options that swebench puts before every script: its markers are what -x prints.
    tests = await place.run(f"bash -ux -o pipefail {shlex.quote(script)}", timeout)
    if tests.timed_out:
        await log.write_text(f"{_APPLIED}\n{tests.output}\n{_TIMED_OUT}\n")
        return Verdict(False, "tests:timeout", f"the tests took longer than {timeout:g} s")
    await log.write_text(f"{_APPLIED}\n{tests.output}\n")
    return await anyio.to_thread.run_sync(_graded, instance, patch, folder, tests)


async def _not_applied(place: Place, patch: str) -> str:
    """What the ways to apply a patch complain of, in order; empty if one of them did it."""
    path = shlex.quote(await place.put("patch.diff", patch))
    said: list[str] = []
    for command in _APPLY:
        if said:  # what failed may have left a part behind
            await place.run("git checkout -- . ; git clean -fd", _APPLY_TIMEOUT_S)
        done = await place.run(f"{command} {path}", _APPLY_TIMEOUT_S)
        if done.exit_code == 0:
            return ""
        said.append(done.text() or f"exit code {done.exit_code}")
    # One of them may have done all of it and still have complained.
    whole = await place.run(f"git apply --check --reverse {path}", _APPLY_TIMEOUT_S)
    return "\n\n".join(said) if whole.exit_code else ""


def _recording_exit_code(script: str) -> str:
    """As swebench does, so that a log without the failure that ended the tests is none."""
    lines = script.split("\n")
    for at, line in enumerate(lines):
        if _END_OF_TESTS in line:
            lines[at : at + 1] = ["STATUS=$?", line, f'echo "{_EXIT_CODE}: $STATUS"']
            break
    return "\n".join(lines)


def _graded(instance: Instance, patch: str, folder: Path, tests: CommandResult) -> Verdict:
    graded = grade(instance, patch, folder / "test_output.txt")
    report = msgspec.json.encode({instance.instance_id: graded.report})
    (folder / "report.json").write_bytes(msgspec.json.format(report) + b"\n")
    passed = (
        f"{graded.mended} of {len(instance.fail_to_pass)} failing tests pass, "
        f"{graded.kept} of {len(instance.pass_to_pass)} still do"
    )
    if not patch.strip():
        return Verdict(False, "patch:empty", passed)
    if graded.resolved:
        return Verdict(True)
    if not graded.ran:
        return Verdict(False, "tests:not_run", tests.stopped or "their log shows no results")
    return Verdict(False, "tests:failed", passed)
