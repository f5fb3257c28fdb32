"""An instance as a program: mini-swe-agent's loop, each reply a turn, each command a tool call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.from_thread
import anyio.to_thread
from pydantic import Field

from agentrt import Agent, Context, Tool, agent, tool
from agentrt.errors import ToolFailed
from agentrt_tools.bench.pauses import Pauses
from agentrt_tools.command import CommandResult
from agentrt_tools.swebench.instance import Instance
from agentrt_tools.swebench.mini import MiniAgent, variables
from agentrt_tools.swebench.place import Place

#: Longest command line; a patch may be in it. One argument may have 128 KiB.
_COMMAND_CHARACTERS = 130_000

#: Seconds that a call has more than its command, which ends itself and keeps what it wrote.
_GRACE_S = 10.0


@dataclass(slots=True)
class Transcript:
    """What the agent did.

    Attributes:
        commands: in order.
        exit_status: how its loop ended, in mini-swe-agent's words; empty if it did not.
        patch: that it handed in.
        injected_s: pauses that were added to its commands.
    """

    commands: list[str] = field(default_factory=list)
    exit_status: str = ""
    patch: str = ""
    injected_s: float = 0.0


def instance_agent(
    instance: Instance,
    place: Place,
    transcript: Transcript,
    config: Mapping[str, Any],
    *,
    max_tokens: int,
    timeout: float,
    step_limit: int | None,
    pauses: Pauses,
    trajectory: Path,
) -> Agent[[], None]:
    """The agent of one instance.

    Args:
        place: that its commands run in.
        transcript: filled while it runs.
        config: of mini-swe-agent.
        max_tokens: per model request.
        timeout: of a command, seconds.
        step_limit: replies of the model; None is the configuration's.
        pauses: added to commands.
        trajectory: file for mini-swe-agent's own record.
    """
    bash = _bash(instance.instance_id, place, transcript, variables(config), timeout, pauses)
    program = _FromThread(bash)
    mini = MiniAgent(
        config,
        instance.problem_statement,
        place.workdir,
        program,
        step_limit=step_limit,
        trajectory=trajectory,
    )

    async def run(ctx: Context) -> None:
        program.context = ctx
        # A thread of its own: those that everybody shares are needed for the calls it makes.
        alone = anyio.CapacityLimiter(1)
        end = await anyio.to_thread.run_sync(mini.run, limiter=alone)
        transcript.exit_status, transcript.patch = end

    run.__name__ = "swebench"
    run.__doc__ = mini.system_prompt
    return agent(tools=[], max_tokens=max_tokens, temperature=0.0)(run)


def _bash(
    entry_id: str,
    place: Place,
    transcript: Transcript,
    environment: Mapping[str, str],
    timeout: float,
    pauses: Pauses,
) -> Tool:
    @tool(timeout=timeout + pauses.longest_s + _GRACE_S, effect="write")
    async def bash(
        command: Annotated[str, Field(max_length=_COMMAND_CHARACTERS)],
    ) -> dict[str, Any]:
        """Run a bash command in the checkout.

        Args:
            command: the command line.
        """
        pause = pauses.seconds(entry_id, len(transcript.commands))
        transcript.commands.append(command)
        done = await place.run(command, timeout, environment)
        transcript.injected_s += pause
        await anyio.sleep(pause)
        return asdict(done)

    return bash


class _FromThread:
    """The program, for a thread that the event loop has started.

    Attributes:
        context: of the program, once it runs.
    """

    def __init__(self, bash: Tool) -> None:
        self.context: Context
        self._bash = bash

    def say(self, text: str) -> tuple[str, str]:
        """The model's reply, and why it ended."""
        anyio.from_thread.check_cancelled()
        reply = anyio.from_thread.run(self.context.say, text)
        return reply, self.context.program.turns[-1].finish_reason

    def run(self, command: str) -> CommandResult:
        """What came of a command."""
        anyio.from_thread.check_cancelled()
        call = partial(self.context.call, self._bash, command=command)
        try:
            return CommandResult(**anyio.from_thread.run(call))
        except ToolFailed as error:
            return CommandResult("", -1, str(error))
