"""What becomes of an instance: what an agent sees, what is tested, and what is a failure."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path

import pytest

from agentrt.errors import EngineLost
from agentrt.testing import ScriptedModel, dies, refuses, says
from agentrt_tools.bench.pauses import Pauses
from agentrt_tools.swebench.data_set import load_tasks
from tests.bench.adder import COLLECT, HAND_IN, ROW, SOLUTION, adder, does, worked_on, written

SOLVED = [does(SOLUTION), does(COLLECT), does(HAND_IN)]


def test_an_agent_that_mends_it(tmp_path: Path) -> None:
    with ScriptedModel(SOLVED) as model:
        result = worked_on(adder(tmp_path), model, tmp_path)
        prompts = [request.messages for request in model.requests]
    assert (result.valid, result.problem, result.turns, result.tool_calls) == (True, "", 3, 3)
    assert result.calls == ((SOLUTION,), (COLLECT,), (HAND_IN,))
    assert result.answers[0].startswith("diff --git a/lib.py b/lib.py")
    assert 0 < result.tool_s < result.seconds
    assert result.ttft_s is not None

    # Its own prompts, in its own words, and each begins with the one before.
    assert [each["role"] for each in prompts[0]] == ["system", "user"]
    assert "You are a helpful assistant" in prompts[0][0]["content"]
    assert ROW["problem_statement"] in prompts[0][1]["content"]
    assert "/testbed in" not in prompts[0][1]["content"]
    for before, after in itertools.pairwise(prompts):
        assert after[: len(before)] == before
        assert [each["role"] for each in after[len(before) :]] == ["assistant", "user"]

    folder = tmp_path / "any/agentrt__adder-1"
    record = json.loads((folder / "agentrt__adder-1.traj.json").read_text())
    assert record["trajectory_format"] == "mini-swe-agent-1.1"
    assert record["info"]["exit_status"] == "Submitted"
    assert record["info"]["submission"] == result.answers[0]
    assert "test_two" in (folder / "test_output.txt").read_text()
    report = json.loads((folder / "report.json").read_text())["agentrt__adder-1"]
    assert report["resolved"] is True
    assert report["tests_status"]["PASS_TO_PASS"]["success"] == ROW["PASS_TO_PASS"]


def test_commands_share_a_folder_for_temporary_files_and_nothing_else(tmp_path: Path) -> None:
    commands = [
        "echo kept > /tmp/note && pwd && ls -A && git log --format=%s",
        "cat /tmp/note; echo $HOME; which python pytest; python -c 'import lib; print(lib)'",
        "git commit -qam mine --allow-empty && git log -1 --format=%an; python -c 'import agentrt'",
    ]
    with ScriptedModel([*map(does, commands), does("touch patch.txt"), does(HAND_IN)]) as model:
        worked_on(adder(tmp_path), model, tmp_path)
        seen = [request.messages[-1]["content"] for request in model.requests[1:4]]
    assert "/tmp/testbed\n.git\nlib.py\ntests\nbase\n" in seen[0]
    assert seen[1].count("/environments/") == 2
    assert "kept\n/tmp\n" in seen[1] and "/tmp/testbed/lib.py" in seen[1]
    assert "\nagent\n" in seen[2] and "No module named 'agentrt'" in seen[2]


def test_a_patch_that_changes_the_tests_changes_nothing(tmp_path: Path) -> None:
    """Whatever an agent does to the tests, it is graded by those of the instance."""
    cheat = (
        "echo 'tests/' > .gitignore && rm tests/test_lib.py && "
        "printf 'def test_two():\\n    pass\\n' > tests/test_more.py && "
        "git add --all --force && git diff --cached > patch.txt"
    )
    with ScriptedModel([does(cheat), does(HAND_IN)]) as model:
        result = worked_on(adder(tmp_path), model, tmp_path)
    assert "tests/test_more.py" in result.answers[0]
    assert (result.valid, result.problem) == (False, "tests:failed")
    assert result.message == "0 of 2 failing tests pass, 1 of 1 still do"


def test_the_solution_is_nowhere_in_the_checkout(tmp_path: Path) -> None:
    look = "git fsck --lost-found --unreachable; git count-objects -v; git log --all --reflog"
    with ScriptedModel([does(look), does("touch patch.txt"), does(HAND_IN)]) as model:
        worked_on(adder(tmp_path), model, tmp_path)
        seen = model.requests[1].messages[-1]["content"]
    assert "in-pack: " in seen and "count: 0\n" in seen
    assert "dangling" not in seen and "unreachable" not in seen


def test_a_patch_that_writes_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("mine")
    link = (
        "diff --git a/.git/eval.sh b/.git/eval.sh\nnew file mode 120000\n--- /dev/null\n"
        f"+++ b/.git/eval.sh\n@@ -0,0 +1 @@\n+{target}\n\\ No newline at end of file\n"
    )
    hand_in = f"cat > patch.txt <<'END'\n{link}END"
    with ScriptedModel([does(hand_in), does(HAND_IN)]) as model:
        worked_on(adder(tmp_path), model, tmp_path / "out")
    assert target.read_text() == "mine"


def test_a_solution_that_breaks_something_else(tmp_path: Path) -> None:
    broken = "sed -i 's/a - b/(a + b) or 1/' lib.py"
    with ScriptedModel([does(broken), does(COLLECT), does(HAND_IN)]) as model:
        result = worked_on(adder(tmp_path), model, tmp_path)
    assert result.message == "2 of 2 failing tests pass, 0 of 1 still do"


@pytest.mark.parametrize(
    ("text", "problem", "message"),
    [
        ("", "patch:empty", "0 of 2 failing tests pass, 1 of 1 still do"),
        ("nonsense", "patch:not_applied", "error: No valid patches in input"),
        (
            "--- a/none.py\n+++ b/none.py\n@@ -1 +1 @@\n-a\n+b\n",
            "patch:not_applied",
            "error: none.py: No such file or directory",
        ),
    ],
)
def test_a_broken_patch(text: str, problem: str, message: str, tmp_path: Path) -> None:
    hand_in = f"printf '%s' '{text}' > patch.txt"
    with ScriptedModel([does(hand_in), does(HAND_IN)]) as model:
        result = worked_on(adder(tmp_path), model, tmp_path)
    assert (result.valid, result.problem) == (False, problem)
    assert message in result.message


def test_tests_that_never_end(tmp_path: Path) -> None:
    endless = "printf 'def add(a, b):\\n    while a: pass\\n    return 0\\n' > lib.py"
    with ScriptedModel([does(endless), does(COLLECT), does(HAND_IN)]) as model:
        result = worked_on(adder(tmp_path), model, tmp_path, test_timeout=2.0)
    assert (result.valid, result.problem) == (False, "tests:timeout")
    assert result.message == "the tests took longer than 2 s"


def test_tests_that_cannot_be_collected(tmp_path: Path) -> None:
    with ScriptedModel([does("rm lib.py"), does(COLLECT), does(HAND_IN)]) as model:
        result = worked_on(adder(tmp_path), model, tmp_path)
    assert result.problem == "tests:failed"
    assert result.message == "0 of 2 failing tests pass, 0 of 1 still do"


def test_a_command_that_never_ends_is_cut_off_and_the_model_told(tmp_path: Path) -> None:
    steps = [does("echo begun; sleep 300"), does("touch patch.txt"), does(HAND_IN)]
    with ScriptedModel(steps) as model:
        result = worked_on(adder(tmp_path), model, tmp_path, tool_timeout=1.0)
        told = model.requests[1].messages[-1]["content"]
    assert "An error occurred while executing the command" in told
    assert "it took longer than 1 s" in told and "begun" in told
    assert result.turns == 3
    assert result.seconds < 60


def test_a_reply_without_a_command_stays_in_the_history(tmp_path: Path) -> None:
    steps = [says("I would rather not."), does("touch patch.txt"), does(HAND_IN)]
    with ScriptedModel(steps) as model:
        result = worked_on(adder(tmp_path), model, tmp_path)
        after = model.requests[1].messages
    assert after[-2] == {"role": "assistant", "content": "I would rather not."}
    assert "Please always provide EXACTLY ONE action" in after[-1]["content"]
    assert result.turns == 3


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([says("no")] * 3, "agent:RepeatedFormatError"),
        ([does("true")] * 2, "agent:LimitsExceeded"),
        ([refuses(400, "maximum context length is 8192 tokens")], "model:context_overflow"),
        ([refuses(400, "no")], "model:refused"),
    ],
)
def test_an_agent_that_gets_nowhere(steps: list[object], problem: str, tmp_path: Path) -> None:
    limit = 2 if problem.endswith("LimitsExceeded") else None
    with ScriptedModel(steps) as model:  # type: ignore[arg-type]
        result = worked_on(adder(tmp_path), model, tmp_path, step_limit=limit)
    assert (result.valid, result.problem) == (False, problem)


def test_an_engine_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    with ScriptedModel([dies()]) as model, pytest.raises(EngineLost):
        worked_on(adder(tmp_path), model, tmp_path)


def test_pauses_are_added_and_counted(tmp_path: Path) -> None:
    with ScriptedModel(SOLVED) as model:
        pauses = Pauses("dist:fixed:0.2")
        result = worked_on(adder(tmp_path), model, tmp_path, pauses=pauses)
    assert result.injected_s == pytest.approx(0.6)
    assert result.tool_s > 0.6


def local_row(git: str, commit: str) -> dict[str, object]:
    """A row as SWE-bench has it, and what it takes to do without its image."""
    test_patch = (
        "diff --git a/tests/test_more.py b/tests/test_more.py\nnew file mode 100644\n"
        "--- /dev/null\n+++ b/tests/test_more.py\n@@ -0,0 +1,4 @@\n"
        "+from lib import add\n+\n+def test_two():\n+    assert add(2, 2) == 4\n"
    )
    return {
        "instance_id": "agentrt__adder-2",
        "repo": "agentrt/adder",
        "base_commit": commit,
        "problem_statement": ROW["problem_statement"],
        "test_patch": test_patch,
        "FAIL_TO_PASS": '["tests/test_more.py::test_two"]',
        "PASS_TO_PASS": '["tests/test_lib.py::test_zero"]',
        "created_at": "2026-11-28",
        "local": {
            "git": git,
            "requirements": ["pytest==8.4.2"],
            "test_command": "python -m pytest -rA tests",
            "test_paths": ["tests"],
        },
    }


def test_a_repository_that_is_cloned(tmp_path: Path) -> None:
    """At the commit of the issue, without a trace of what came after it."""
    origin = tmp_path / "origin"
    origin.mkdir()

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@localhost")
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=origin, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    for path, text in ROW["before"]["files"].items():
        (origin / path).parent.mkdir(exist_ok=True)
        (origin / path).write_text(text)
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "issue")
    commit = git("rev-parse", "HEAD")
    (origin / "lib.py").write_text(ROW["after"]["files"]["lib.py"])
    git("commit", "-qam", "solution")
    git("tag", "v2")

    data = written(tmp_path / "rows.jsonl", local_row(str(origin), commit))
    [task] = load_tasks(str(data), "test")
    look = "git log --all --reflog --format=%s; git tag; git fsck --lost-found; git reflog"
    with ScriptedModel([does(look), *SOLVED]) as model:
        result = worked_on(task, model, tmp_path)
        seen = model.requests[1].messages[-1]["content"]
    assert "issue" in seen
    assert all(each not in seen for each in ("solution", "v2", "dangling", "HEAD@"))
    assert result.valid, result.message


def test_a_repository_that_is_missing(tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", local_row(str(tmp_path / "nowhere"), "0" * 40))
    [task] = load_tasks(str(data), "test")
    with ScriptedModel([]) as model:
        result = worked_on(task, model, tmp_path)
    assert (result.valid, result.problem, result.turns) == (False, "environment:missing", 0)
    assert "nowhere" in result.message
