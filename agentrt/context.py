"""What an agent and its tools see of their program."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, overload

from typing_extensions import TypeVar

from agentrt.answer_form import AnswerForm
from agentrt.chat import Message
from agentrt.errors import ToolFailed
from agentrt.heartbeat import beat
from agentrt.program import Program, ToolOutcome
from agentrt.running import Running
from agentrt.turn_loop import ToolChoice, TurnLoop

if TYPE_CHECKING:
    from agentrt.agent import Agent
    from agentrt.tool import Tool

P = ParamSpec("P")
R = TypeVar("R")

#: Starts an agent with positional and named arguments.
Spawn = Callable[["Agent[..., Any]", tuple[Any, ...], Mapping[str, Any]], Running[Any]]

#: What `Context.loop` returns.
A = TypeVar("A", default=str)
T = TypeVar("T")


class Context(Generic[A]):
    """One run of an agent, from the inside. Made by the runtime; one per program.

    `Context[Report]` is that of an agent whose loops end in a `Report`; a plain `Context` that of
    one whose loops end in text.

    Attributes:
        program: the record of the run.
    """

    def __init__(
        self,
        agent: Agent[..., Any],
        program: Program,
        turn_loop: TurnLoop,
        spawn: Spawn,
        workspace: Path | None = None,
    ) -> None:
        self.program = program
        self._kept_workspace = workspace
        self._spawn = spawn
        self._agent = agent
        self._turn_loop = turn_loop
        self._in_loop = False
        self._workspace: tempfile.TemporaryDirectory[str] | None = None

    @property
    def workspace(self) -> Path:
        """A directory of this program, made at first use and removed when the program ends.

        In a durable run it stays until the whole run has finished.
        """
        if self._kept_workspace is not None:
            self._kept_workspace.mkdir(parents=True, exist_ok=True)
            return self._kept_workspace.resolve()
        if self._workspace is None:
            self._workspace = tempfile.TemporaryDirectory(
                prefix="agentrt-", ignore_cleanup_errors=True
            )
        return Path(self._workspace.name).resolve()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The history so far, oldest first."""
        return tuple(self._turn_loop.messages)

    @overload
    async def loop(
        self,
        prompt: str,
        *,
        tools: Sequence[Tool] | None = None,
        tool_choice: ToolChoice = "auto",
        max_turns: int | None = None,
        max_tokens: int | None = None,
    ) -> A: ...

    @overload
    async def loop(
        self,
        prompt: str,
        *,
        output: type[T],
        tools: Sequence[Tool] | None = None,
        tool_choice: ToolChoice = "auto",
        max_turns: int | None = None,
        max_tokens: int | None = None,
    ) -> T: ...

    async def loop(
        self,
        prompt: str,
        *,
        output: type[Any] | None = None,
        tools: Sequence[Tool] | None = None,
        tool_choice: ToolChoice = "auto",
        max_turns: int | None = None,
        max_tokens: int | None = None,
    ) -> Any:
        """Give the model a prompt and let it use tools until it answers.

        A further call continues the same history. What is not given is the agent's. Without
        tools a text is the answer of one turn.

        Args:
            prompt: the next message of the user.
            output: type of the answer; the decoder permits nothing else.
            tools: what the model may call here; the prompt goes on listing the agent's.
            tool_choice: "required" makes the first turn a call.
            max_turns: model requests; the last one forces an answer.
            max_tokens: generated tokens per request.

        Raises:
            NoAnswer: not even the last turn gave an answer.
            DefinitionError: JSON cannot express the type of the answer.
            EngineError: the engine was lost or refused a request.
            RuntimeError: another loop of this program is running.
        """
        turns = self._agent.max_turns if max_turns is None else max_turns
        tokens = self._agent.max_tokens if max_tokens is None else max_tokens
        if turns < 1 or tokens < 1:
            raise ValueError(f"max_turns={turns}, max_tokens={tokens}: expected at least 1")
        if self._in_loop:
            raise RuntimeError("a program has one history: await one loop before the next")
        form: AnswerForm[Any] = self._agent.answer_form
        if output is not None:
            form = AnswerForm.of(output, f"a loop of {self.program.label}")
        self._in_loop = True
        try:
            return await self._turn_loop.run(
                self,
                prompt,
                form,
                tools=self._agent.tools if tools is None else tools,
                tool_choice=tool_choice,
                max_turns=turns,
                max_tokens=tokens,
            )
        finally:
            self._in_loop = False

    async def say(self, prompt: str, *, max_tokens: int | None = None) -> str:
        """Give the model a prompt and return its reply: one turn of free text, without tools.

        Raises:
            EngineError: the engine was lost or refused the request.
            RuntimeError: a loop of this program is running.
        """
        return await self.loop(prompt, output=str, tools=[], max_turns=1, max_tokens=max_tokens)

    async def call(self, tool: Tool, **arguments: Any) -> Any:
        """Call a tool from the agent's own code, with the limits and the record of any other call.

        The model is told nothing of it.

        Returns:
            what the tool returned, as it is.

        Raises:
            ToolFailed: it did not finish; says why.
            BudgetExceeded: the program may make no more tool calls.
            EngineError: the tool itself used the engine, and that failed.
        """
        result = await self._turn_loop.call_tool(
            self, {tool.name: tool}, tool.name, arguments, needs_value=True
        )
        if result.outcome is not ToolOutcome.FINISHED:
            raise ToolFailed(result.text, outcome=result.outcome)
        return result.value

    def spawn(self, agent: Agent[P, R], *args: P.args, **kwargs: P.kwargs) -> Running[R]:
        """Start another agent as a program of this one, and go on.

        It ends before this program does: its result is waited for, and if this program fails or is
        cancelled it is cancelled. Its failure is raised where it is awaited, or else fails this
        program.
        """
        running: Running[R] = self._spawn(agent, args, kwargs)
        return running

    async def gather(self, *running: Running[R]) -> list[R]:
        """What several programs return, in their order; if one fails, the others are cancelled."""
        try:
            return [await each for each in running]
        except BaseException:
            for each in running:
                each.cancel()
            raise

    def heartbeat(self) -> None:
        """A tool call says that it is alive, and gets its `heartbeat_timeout` again.

        Raises:
            RuntimeError: this is not inside of a tool call.
        """
        beat()

    def remove_workspace(self) -> None:
        """Remove the workspace, if there is one. Called by the runtime; blocks."""
        if self._workspace is not None:
            self._workspace.cleanup()
