"""An entry as a program: its user speaks turn after turn, the model calls functions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import TypeAdapter

from agentrt import Agent, Context, Tool, agent
from agentrt.errors import NoAnswer
from agentrt_tools.bench.pauses import Pauses
from agentrt_tools.bfcl.calls import render
from agentrt_tools.bfcl.entries import Entry, Function
from agentrt_tools.bfcl.world import World, WorldLost
from agentrt_tools.foreign_tool import foreign_tool

#: Calls that a turn of the user may lead to; with one more the entry has failed. The package allows
#: 20 replies with any number of calls, here a reply is one call, and a reference makes 34.
CALL_LIMIT = 40

#: The package cuts no results; one that does not fit into the context is a failure of the entry.
_RESULT_LIMIT = 1_000_000
_ANSWER_LIMIT = 400

#: In the package's words, without its own form of calls.
INSTRUCTIONS = (
    "You are an expert in composing functions. You are given a question and a set of possible "
    "functions. Based on the question, you will need to make one or more function/tool calls to "
    "achieve the purpose. If none of the functions can be used, point it out. If the given "
    "question lacks the parameters required by the function, also point it out. At each turn, you "
    "should try your best to complete the tasks requested by the user within the current turn. "
    "Continue to call functions until you have fulfilled the user's request to the best of your "
    "ability."
)


class CallLimit(Exception):
    """A turn of the user led to more calls than an entry may make."""


@dataclass(slots=True)
class Transcript:
    """What the model did.

    Attributes:
        calls: as source, by turn.
        answers: the text that ended each turn; empty where there was none.
        injected_s: pauses that were added to its calls.
    """

    calls: list[list[str]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    injected_s: float = 0.0

    @property
    def made(self) -> int:
        """Calls so far."""
        return sum(map(len, self.calls))


def entry_agent(
    entry: Entry,
    world: World,
    transcript: Transcript,
    *,
    max_tokens: int,
    timeout: float,
    call_limit: int,
    holds_back: bool,
    pauses: Pauses,
    instructions: str = INSTRUCTIONS,
) -> Agent[[], None]:
    """The agent of one entry.

    Args:
        world: that its calls reach.
        transcript: filled while it runs.
        max_tokens: per model request.
        timeout: of a call, seconds.
        call_limit: calls that a turn of the user may lead to.
        holds_back: functions that the entry brings in later are not there before.
        pauses: added to the calls.
        instructions: the system prompt.
    """
    late = [function for turn in entry.turns for function in turn.added]

    def as_tool(function: Function) -> Tool:
        return foreign_tool(
            function.name,
            function.description,
            function.parameters,
            _caller(entry, function.name, world, transcript, pauses),
            validator=TypeAdapter(dict[str, Any]),
            timeout=timeout + pauses.longest_s,
            output_limit=_RESULT_LIMIT,
        )

    async def run(ctx: Context) -> None:
        tools = list(run_agent.tools)
        for turn in entry.turns:
            tools += map(as_tool, turn.added) if holds_back else ()
            transcript.calls.append([])
            transcript.answers.append("")
            try:
                answer = await ctx.loop(turn.prompt, tools=tools, max_turns=call_limit + 2)
                transcript.answers[-1] = answer
            except NoAnswer:
                pass  # as in the package: the user goes on
            if world.lost:
                raise WorldLost(world.lost)
            if len(transcript.calls[-1]) > call_limit:
                at = len(transcript.calls)
                raise CallLimit(f"more than {call_limit} calls in turn {at} of the user")

    run.__name__ = entry.category
    run.__doc__ = instructions
    run_agent = agent(
        tools=[as_tool(each) for each in (*entry.functions, *(() if holds_back else late))],
        max_tokens=max_tokens,
        answer_limit=_ANSWER_LIMIT,
        temperature=0.0,
    )(run)
    return run_agent


def _caller(
    entry: Entry, name: str, world: World, transcript: Transcript, pauses: Pauses
) -> Callable[..., Coroutine[Any, Any, str]]:
    async def call(**arguments: Any) -> str:
        pause = pauses.seconds(entry.entry_id, transcript.made)
        source = render(name, arguments)
        transcript.calls[-1].append(source)
        result = await world.call(source)
        transcript.injected_s += pause
        await anyio.sleep(pause)
        return result

    return call
