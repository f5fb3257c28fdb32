"""Runs agents as programs against one engine."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar
from uuid import uuid4

import anyio
import anyio.to_thread
from opentelemetry.trace import TracerProvider

from agentrt.agent import Agent
from agentrt.client import DEFAULT_REQUEST_TIMEOUT_S, EngineClient
from agentrt.context import Context
from agentrt.endpoint import Endpoint
from agentrt.engine_hints import EngineHints
from agentrt.interception import Interception
from agentrt.program import Clock, Program, ProgramState
from agentrt.recorder import Recorder
from agentrt.spans import Spans
from agentrt.turn_loop import TurnLoop

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ProgramResult(Generic[R]):
    """A finished program.

    Attributes:
        output: what the agent returned.
        program: the record of the run.
    """

    output: R
    program: Program


class Runtime:
    """Programs on one engine; an async context manager.

    Programs run in the task that calls `run`: start many of them in a task group, and
    cancelling a task cancels its program and the tool it is in.

    Attributes:
        programs: all programs, in start order, also those that failed.

    Args:
        url: where the engine listens.
        api_key: sent as a bearer token.
        trace: file to which each program is written when it ends, as agentrt.trace.v1.
        request_timeout: seconds without an answer after which the engine counts as lost.
        tracer_provider: where spans go; None is the application's global provider.
        clock: seconds, for all times of programs.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        trace: Path | str | None = None,
        request_timeout: float = DEFAULT_REQUEST_TIMEOUT_S,
        tracer_provider: TracerProvider | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.programs: list[Program] = []
        self._client = EngineClient(url, api_key=api_key, request_timeout=request_timeout)
        self._trace = None if trace is None else Path(trace)
        self._tracer_provider = tracer_provider
        self._clock = clock
        self._engine: Endpoint | None = None
        self._recorder: Recorder | None = None
        self._resources = AsyncExitStack()

    @property
    def engine(self) -> Endpoint:
        """The engine, as it described itself when the runtime was entered."""
        if self._engine is None:
            raise RuntimeError("the runtime is not open: use `async with`")
        return self._engine

    async def __aenter__(self) -> Runtime:
        """Ask the engine what it is and open the trace.

        Raises:
            EngineUnreachable: no engine answers.
            ModelRequestFailed: the engine refuses the key.
            SettingError: the trace cannot be written.
        """
        async with AsyncExitStack() as resources:
            await resources.enter_async_context(self._client)
            self._engine = await self._client.discover()
            if self._trace is not None:
                metadata = {
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    **self._engine.metadata(),
                }
                self._recorder = resources.enter_context(
                    Recorder(self._trace, start=self._clock(), metadata=metadata)
                )
            self._resources = resources.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._resources.__aexit__(kind, error, traceback)

    async def run(self, agent: Agent[P, R], *args: P.args, **kwargs: P.kwargs) -> ProgramResult[R]:
        """Run an agent as one program, and wait for it.

        Whatever the agent raises is raised here; `programs` keeps the record of the run.
        """
        program = Program(
            program_id=uuid4().hex,
            agent=agent.name,
            copy=1 + sum(other.agent == agent.name for other in self.programs),
        )
        spans = Spans(self.engine, self._tracer_provider)
        hints = EngineHints(self._client, self.engine, program.program_id)
        context = Context(
            agent,
            program,
            TurnLoop(
                agent,
                client=self._client,
                endpoint=self.engine,
                interception=Interception(self._clock, spans, hints),
                spans=spans,
                clock=self._clock,
            ),
        )
        self.programs.append(program)
        program.started = self._clock()
        try:
            with spans.agent(program):
                try:
                    output = await agent.function(context, *args, **kwargs)
                except anyio.get_cancelled_exc_class():
                    program.end(ProgramState.CANCELLED, self._clock())
                    raise
                except BaseException as error:
                    reason = f"{type(error).__name__}: {error}"
                    program.end(ProgramState.FAILED, self._clock(), error=reason)
                    raise
                program.end(ProgramState.FINISHED, self._clock(), output=output)
        finally:
            if self._recorder is not None:
                self._recorder.write(program)
            if program.turns:
                await hints.ended()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(context.remove_workspace)
        return ProgramResult(output, program)
