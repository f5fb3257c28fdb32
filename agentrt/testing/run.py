"""Run an agent on a scripted model, in virtual time, from a test that is not async."""

from __future__ import annotations

from typing import ParamSpec, TypeVar

from agentrt.agent import Agent
from agentrt.runtime import ProgramResult
from agentrt.testing.network import blocked_network
from agentrt.testing.scripted_model import ScriptedModel
from agentrt.testing.virtual_time import in_virtual_time

P = ParamSpec("P")
R = TypeVar("R")


def run_agent(
    model: ScriptedModel, agent: Agent[P, R], *args: P.args, **kwargs: P.kwargs
) -> ProgramResult[R]:
    """What an agent returned, and the record of its program.

    The model's script has to be used up, time is virtual, and the network blocked. Whatever the
    agent raises is raised here.

    Raises:
        AssertionError: the script was not followed.
    """

    async def inside() -> ProgramResult[R]:
        async with model.connect() as runtime:
            return await runtime.run(agent, *args, **kwargs)

    with blocked_network(), model:
        return in_virtual_time(inside)
