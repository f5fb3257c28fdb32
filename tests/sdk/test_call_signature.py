"""What a tool call is like, in a few words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt import Context, agent, tool
from agentrt.call_signature import LONGEST, call_signature
from agentrt.replay.trace_file import load_trace
from agentrt.testing import ScriptedModel, answer, call, in_virtual_time
from agentrt_engine.wire.hints import HintKind


@pytest.mark.parametrize(
    ("command", "signature"),
    [
        ("ls -la", "ls"),
        ("git log --oneline | head", "git log"),
        ("git -C repo", "git"),
        ("cd repo && python -m pytest tests -q", "pytest"),
        ("cd repo; PYTHONPATH=. timeout 60 python3.11 run.py", "python"),
        ("sudo -E apt-get install -y jq", "apt-get install"),
        ("nice /usr/bin/cargo build --release", "cargo build"),
        ("export A=1\nsource x\n./run.sh now", "run.sh"),
        ("for f in *; do cat $f; done", "for"),
        ("A=1", ""),
        ("sudo", ""),
        ("python -m", "python"),
        ("", ""),
        ("&& ;; |", ""),
    ],
)
def test_of_a_command_the_program_and_what_it_is_to_do(command: str, signature: str) -> None:
    assert call_signature({"command": command}) == signature


def test_of_a_path_its_suffix() -> None:
    assert call_signature({"path": "src/main.py", "lines": 3}) == ".py"
    assert call_signature({"path": "src", "other_file": "a/b.tar.gz"}) == ".gz"
    assert call_signature({"profile": "x.py"}) == ""


def test_everything_else_stays_unsaid() -> None:
    assert call_signature({"text": "rm -rf secret", "pattern": "token", "n": 3, "x": None}) == ""


@given(
    arguments=st.dictionaries(
        st.sampled_from(["command", "path", "text"]), st.text() | st.integers() | st.none()
    )
)
def test_any_arguments_have_one(arguments: dict[str, object]) -> None:
    assert len(call_signature(arguments)) <= LONGEST


def test_the_engine_and_the_trace_learn_the_signature(tmp_path: Path) -> None:
    @tool
    async def shell(command: str) -> str:
        """Run a command."""
        return "done"

    @agent(tools=[shell])
    async def worker(ctx: Context) -> str:
        """You work."""
        await ctx.call(shell, command="my-secret-key --login")
        return await ctx.loop("Go.")

    model = ScriptedModel([call("shell", command="git log -n 1"), answer("done")])

    async def main() -> list[str]:
        trace, secrets = tmp_path / "run.jsonl", ["my-secret-key"]
        async with model.connect(trace=trace, secrets=secrets) as runtime:
            program = (await runtime.run(worker)).program
        return [made.signature for made in program.tool_calls]

    with model:
        assert in_virtual_time(main) == ["•••", "git log"]
    told = [hint.signature for hint in model.hints if hint.kind is HintKind.TOOL_STARTED]
    assert told == ["•••", "git log"]
    [program] = load_trace(tmp_path / "run.jsonl").programs
    assert [each.signature for turn in program.turns for each in turn.tools] == ["git log"]
