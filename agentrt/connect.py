"""Find an engine, and open a runtime on it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from agentrt.client import DEFAULT_REQUEST_TIMEOUT_S
from agentrt.embedded import API_KEY_VARIABLE, URL_VARIABLE, EngineSettings, locate_or_start
from agentrt.journal import Durability, Journal
from agentrt.program import Clock
from agentrt.runtime import Runtime


@asynccontextmanager
async def connect(
    url: str | None = None,
    *,
    api_key: str | None = None,
    trace: Path | str | None = None,
    trace_notes: Mapping[str, Any] | None = None,
    request_timeout: float = DEFAULT_REQUEST_TIMEOUT_S,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    capture_content: bool | None = None,
    secrets: Iterable[str] = (),
    journal: Journal | Path | str | None = None,
    durability: Durability = Durability.PROCESS,
    clock: Clock = time.monotonic,
    engine: EngineSettings | None = None,
    on_stage: Callable[[str], None] = lambda _stage: None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> AsyncIterator[Runtime]:
    """Open a runtime on an engine.

    Without a URL, the first that exists of: the engine at `AGENTRT_URL` (with the key in
    `AGENTRT_API_KEY`), a running `agentrt serve`, an engine of this process, which is started
    once, shared, and gone when the process ends. Settings for an engine ask for the last.

    Args:
        url: where the engine listens: any OpenAI-compatible one.
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
        journal: folder where programs are recorded, made if absent: running them again after a
            crash goes on where they were.
        durability: whether records outlive a crash of the process, or of the machine too.
        clock: seconds, for all times of programs.
        engine: what an engine of this process is started with.
        on_stage: told in words what happens while an engine starts.
        transport: what carries requests instead of the network.

    Raises:
        EngineError: no engine answers, or none can be started.
        JournalError: the journal is in use, damaged, or cannot be written.
    """
    settings = engine or EngineSettings()
    any_engine = settings == EngineSettings()
    if url is None and any_engine and (url := os.environ.get(URL_VARIABLE) or None):
        api_key = api_key or os.environ.get(API_KEY_VARIABLE)
    async with AsyncExitStack() as resources:
        if isinstance(journal, Path | str):
            opened = Journal(Path(journal), durability=durability)
            journal = resources.enter_context(opened)
        if url is None:
            handle = await locate_or_start(settings, on_stage)
            url, api_key = handle.url, api_key or handle.api_key
        yield await resources.enter_async_context(
            Runtime(
                url,
                api_key=api_key,
                trace=trace,
                trace_notes=trace_notes,
                request_timeout=request_timeout,
                tracer_provider=tracer_provider,
                meter_provider=meter_provider,
                capture_content=capture_content,
                secrets=secrets,
                journal=journal,
                clock=clock,
                transport=transport,
            )
        )
