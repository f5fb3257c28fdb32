"""Runs agents as programs against one engine."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar
from uuid import uuid4

import anyio
import anyio.to_thread
import httpx2
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from agentrt.agent import Agent
from agentrt.client import DEFAULT_REQUEST_TIMEOUT_S, EngineClient
from agentrt.content import Content, asks_for_content
from agentrt.context import Context
from agentrt.endpoint import Endpoint
from agentrt.engine_hints import EngineHints
from agentrt.events import ProgramBegan
from agentrt.family import Family, family
from agentrt.interception import Interception
from agentrt.journal import Journal, ProgramJournal
from agentrt.journal.values import unpack
from agentrt.metrics import metrics_for
from agentrt.program import Clock, Program, ProgramState
from agentrt.recorder import Recorder
from agentrt.running import Running
from agentrt.secrets import Secrets, environment_secrets
from agentrt.signature import first_paragraph
from agentrt.spans import Spans
from agentrt.tool_slots import ToolSlots
from agentrt.turn_loop import History, TurnLoop

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


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

    Programs run in the task that calls `run`, or beside the block of `start`; cancelling it cancels
    the program, the tool it is in, and the programs that it started.

    Attributes:
        programs: all programs, in start order, also those that failed.

    Args:
        url: where the engine listens.
        api_key: sent as a bearer token.
        trace: file to which each program is written when it ends, as agentrt.trace.v1.
        trace_notes: what the header of the trace says besides.
        request_timeout: seconds without an answer after which the engine counts as lost.
        tracer_provider: where spans go; None is the application's global provider.
        meter_provider: where metrics go; None is the application's global provider.
        capture_content: whether spans show prompts, replies, arguments and results; None leaves it
            to `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`.
        secrets: what neither model nor records get to see, besides the values of environment
            variables that are called KEY, TOKEN, SECRET, PASSWORD or CREDENTIALS.
        journal: where programs are recorded, to be resumed.
        clock: seconds, for all times of programs.
        transport: what carries requests instead of the network.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        trace: Path | str | None = None,
        trace_notes: Mapping[str, Any] | None = None,
        request_timeout: float = DEFAULT_REQUEST_TIMEOUT_S,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        capture_content: bool | None = None,
        secrets: Iterable[str] = (),
        journal: Journal | None = None,
        clock: Clock = time.monotonic,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.programs: list[Program] = []
        self._client = EngineClient(
            url, api_key=api_key, request_timeout=request_timeout, transport=transport
        )
        self._trace = None if trace is None else Path(trace)
        self._trace_notes = dict(trace_notes or {})
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        if capture_content is None:
            capture_content = asks_for_content(os.environ)
        self._captures_content = capture_content
        self._clock = clock
        self._journal = journal
        self._slots = ToolSlots()
        self._secrets = Secrets([*secrets, *environment_secrets(os.environ)])
        self._engine: Endpoint | None = None
        self._spans: Spans | None = None
        self._recorder: Recorder | None = None
        self._resources = AsyncExitStack()

    @property
    def engine(self) -> Endpoint:
        """The engine, as it described itself when the runtime was entered."""
        return _opened(self._engine)

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
            opened = self._clock()
            self._spans = Spans(
                self._engine,
                metrics_for(self._meter_provider),
                self._clock,
                opened,
                provider=self._tracer_provider,
                content=Content(self._secrets) if self._captures_content else None,
            )
            if self._trace is not None:
                metadata = {
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    **self._engine.metadata(),
                    **self._trace_notes,
                }
                self._recorder = resources.enter_context(
                    Recorder(self._trace, start=opened, metadata=metadata)
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
        journal = self._journal_of(agent, None, args, kwargs)
        program = self._begin(agent.name, None, journal)
        output = await self._follow(program, journal, None, agent, args, kwargs)
        return ProgramResult(output, program)

    @asynccontextmanager
    async def start(
        self, agent: Agent[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[Running[R]]:
        """Run an agent as one program beside the code of a block; its end cancels the program.

            async with runtime.start(fixer, "bug 7") as running:
                ...
                report = await running

        Whatever the agent raises is raised where it is awaited, or at the end of the block.
        """
        journal = self._journal_of(agent, None, args, kwargs)
        program = self._begin(agent.name, None, journal)
        async with family(outlives_block=False) as started:
            yield started.start(
                Running(program), partial(self._follow, program, journal, None, agent, args, kwargs)
            )

    @contextmanager
    def workflow(self, name: str) -> Iterator[None]:
        """Programs that are run in the block belong together: their spans are one trace.

        Args:
            name: of the workflow, the same at every run.
        """
        with _opened(self._spans).workflow(name):
            yield

    def _journal_of(
        self,
        agent: Agent[..., Any],
        parent: Program | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> ProgramJournal:
        """Where a program that is about to begin is recorded, or was before."""
        if self._journal is None:
            return ProgramJournal(uuid4().hex, adapter=agent.adapter)
        parent_id = None if parent is None else parent.program_id
        return self._journal.program(agent.name, parent_id, (args, kwargs), agent.adapter)

    def _begin(self, agent: str, parent: Program | None, journal: ProgramJournal) -> Program:
        program = Program(
            program_id=journal.program_id,
            agent=agent,
            copy=1 + sum(other.agent == agent for other in self.programs),
            adapter=journal.adapter,
            parent=parent,
        )
        if parent is not None:
            parent.children.append(program)
        self.programs.append(program)
        program.emit(ProgramBegan(program))
        program.started = journal.began(self._clock())
        return program

    async def _follow(
        self,
        program: Program,
        journal: ProgramJournal,
        forked_from: History | None,
        agent: Agent[..., R],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> R:
        """A program from its beginning to its end, or what is left of it."""
        past = self._recalled(program, journal, agent.signature.returns)
        if past is not None:
            returned: R = past.value
            return returned
        spans = _opened(self._spans)
        hints = EngineHints(self._client, self.engine, program.program_id)
        interception = Interception(self._clock, spans, hints, self._slots, self._secrets, journal)
        turn_loop = TurnLoop(
            agent,
            client=self._client,
            endpoint=self.engine,
            interception=interception,
            spans=spans,
            clock=self._clock,
            journal=journal,
            forked_from=forked_from,
        )
        context: Context[Any] | None = None
        try:
            with spans.agent(program, first_paragraph(agent.instructions)):
                try:
                    async with family(outlives_block=True) as children:
                        context = Context(
                            agent,
                            program,
                            turn_loop,
                            partial(self._spawn, program, turn_loop, children),
                            self._journal.workspace(program.program_id) if self._journal else None,
                        )
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
            journal.ended(program, agent.signature.returns)
            if self._journal is not None and program.state is ProgramState.FINISHED:
                self._journal.finished(program.program_id)
            if self._recorder is not None:
                self._recorder.write(program)
            if program.turns:
                await hints.ended()
            if context is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(context.remove_workspace)
        return output

    def _spawn(
        self,
        parent: Program,
        turn_loop: TurnLoop,
        children: Family,
        agent: Agent[..., R],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Running[R]:
        """A program of `parent` begins, a fork with what that knows now."""
        journal = self._journal_of(agent, parent, args, kwargs)
        program = self._begin(agent.name, parent, journal)
        forked_from = turn_loop.history() if agent.forks else None
        if forked_from is not None and parent.turns:
            last = parent.turns[-1]
            name = f"{parent.program_id}/{len(parent.turns)}"
            program.prefix = name, last.input_tokens + last.output_tokens
        return children.start(
            Running(program),
            partial(self._follow, program, journal, forked_from, agent, args, kwargs),
        )

    def _recalled(self, program: Program, journal: ProgramJournal, returns: Any) -> _Output | None:
        """What a program that had finished returned; None if its code has to run (again)."""
        end = journal.past.finished
        if self._journal is None or end is None or end.output is None:
            return None
        try:
            output = _Output(unpack(end.output, returns))
        except ValueError:  # the agent returns something else now
            return None
        self._relive(self._journal, program, journal, output.value)
        self._journal.finished(program.program_id)
        return output

    def _relive(self, run: Journal, program: Program, journal: ProgramJournal, output: Any) -> None:
        """Record what a program of the past and its children did."""
        journal.relive(program, output)
        if self._recorder is not None:
            self._recorder.write(program)
        for agent, of_child in run.children(program.program_id):
            end = of_child.past.finished
            returned = unpack(end.output, None) if end is not None and end.output else None
            self._relive(run, self._begin(agent, program, of_child), of_child, returned)


def _opened(part: T | None) -> T:
    """What there is of a runtime once it is entered."""
    if part is None:
        raise RuntimeError("the runtime is not open: use `async with`")
    return part


@dataclass(frozen=True, slots=True)
class _Output:
    """What an agent returned, which may be None."""

    value: Any
