"""What an agent and its tools see of their program."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentrt.chat import Message
from agentrt.program import Program
from agentrt.turn_loop import ToolChoice, TurnLoop

if TYPE_CHECKING:
    from agentrt.agent import Agent
    from agentrt.tool import Tool


class Context:
    """One run of an agent, from the inside. Made by the runtime; one per program.

    Attributes:
        program: the record of the run.
    """

    def __init__(self, agent: Agent[..., Any], program: Program, turn_loop: TurnLoop) -> None:
        self.program = program
        self._agent = agent
        self._turn_loop = turn_loop
        self._in_loop = False
        self._workspace: tempfile.TemporaryDirectory[str] | None = None

    @property
    def workspace(self) -> Path:
        """A directory of this program, made at first use and removed when the program ends."""
        if self._workspace is None:
            self._workspace = tempfile.TemporaryDirectory(
                prefix="agentrt-", ignore_cleanup_errors=True
            )
        return Path(self._workspace.name).resolve()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The history so far, oldest first."""
        return tuple(self._turn_loop.messages)

    async def loop(
        self,
        prompt: str,
        *,
        tools: Sequence[Tool] | None = None,
        tool_choice: ToolChoice = "auto",
        max_turns: int | None = None,
        max_tokens: int | None = None,
    ) -> str:
        """Give the model a prompt and let it use tools until it answers.

        A further call continues the same history. What is not given is the agent's. Without
        tools the model has one turn and its text is the answer.

        Args:
            prompt: the next message of the user.
            tools: what the model may call here; the prompt goes on listing the agent's.
            tool_choice: "required" makes the first turn a call.
            max_turns: model requests; the last one forces an answer.
            max_tokens: generated tokens per request.

        Raises:
            NoAnswer: not even the last turn gave an answer.
            EngineError: the engine was lost or refused a request.
            RuntimeError: another loop of this program is running.
        """
        turns = self._agent.max_turns if max_turns is None else max_turns
        tokens = self._agent.max_tokens if max_tokens is None else max_tokens
        if turns < 1 or tokens < 1:
            raise ValueError(f"max_turns={turns}, max_tokens={tokens}: expected at least 1")
        if self._in_loop:
            raise RuntimeError("a program has one history: await one loop before the next")
        self._in_loop = True
        try:
            return await self._turn_loop.run(
                self,
                prompt,
                tools=self._agent.tools if tools is None else tools,
                tool_choice=tool_choice,
                max_turns=turns,
                max_tokens=tokens,
            )
        finally:
            self._in_loop = False

    def remove_workspace(self) -> None:
        """Remove the workspace, if there is one. Called by the runtime; blocks."""
        if self._workspace is not None:
            self._workspace.cleanup()
