"""One entry, from its beginning to the checker's verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentrt import Program, Runtime
from agentrt_tools.bench.first_token import FirstTokens, followed
from agentrt_tools.bench.pauses import Pauses
from agentrt_tools.bench.results import EntryResult, entry_result, file_name
from agentrt_tools.bench.verdict import Verdict, verdict_of
from agentrt_tools.bfcl.entries import Entry
from agentrt_tools.bfcl.memory import MEMORY
from agentrt_tools.bfcl.program import CALL_LIMIT, INSTRUCTIONS, CallLimit, Transcript, entry_agent
from agentrt_tools.bfcl.world import COMMAND, World, WorldLost

NO_PAUSES = Pauses()


@dataclass(frozen=True, slots=True)
class EntryOptions:
    """How entries are run.

    Attributes:
        max_tokens: per model request.
        tool_timeout: seconds of a call.
        call_limit: calls that a turn of the user may lead to.
        holds_back: functions that an entry brings in later are not there before.
        pauses: added to calls.
        streams: whether replies are streamed, which shows when their first token comes.
        folder: for the memories of entries, by policy.
        back_end: command that starts the tool back ends.
        begins: told of each program before its first request.
    """

    max_tokens: int = 512
    tool_timeout: float = 60.0
    call_limit: int = CALL_LIMIT
    holds_back: bool = True
    pauses: Pauses = NO_PAUSES
    streams: bool = True
    folder: Path | None = None
    back_end: Sequence[str] = COMMAND
    begins: Callable[[str, Entry], None] = lambda program_id, entry: None


async def run_entry(
    runtime: Runtime, entry: Entry, policy: str | None, options: EntryOptions
) -> EntryResult:
    """Run an entry as a program, and have it checked. Whatever fails in it is its result.

    Args:
        policy: that the result is noted under.

    Raises:
        EngineError: the engine is lost or refuses the key: nothing else would fare better.
    """
    transcript, first = Transcript(), FirstTokens(time.monotonic)
    started: list[Program] = []
    try:
        remembers = entry.category in MEMORY
        folder = (
            options.folder / file_name(policy or "any") if remembers and options.folder else None
        )
        async with World(entry, options.back_end, folder) as world:
            agent = entry_agent(
                entry,
                world,
                transcript,
                max_tokens=options.max_tokens,
                timeout=options.tool_timeout,
                call_limit=options.call_limit,
                holds_back=options.holds_back,
                pauses=options.pauses,
                instructions=await world.prompt() if entry.is_agentic else INSTRUCTIONS,
            )
            async with runtime.start(agent) as running:
                started.append(running.program)
                options.begins(running.program.program_id, entry)
                error = await followed(running, first if options.streams else None)
            if remembers and not entry.is_scored and not world.lost:
                await world.keep()
            if error is not None:
                raise error
            verdict = await _checked(world, entry, transcript)
    except CallLimit as error:
        kind = "agentic" if entry.is_agentic else "multi_turn"
        verdict = Verdict(False, f"{kind}:force_terminated", str(error))
    except WorldLost as error:
        verdict = Verdict(False, "tool:lost", str(error))
    except Exception as error:  # noqa: BLE001 - raised again if it ends the run
        verdict = verdict_of(error)
    return entry_result(
        entry.entry_id,
        entry.category,
        policy,
        started,
        valid=verdict.valid if entry.is_scored else None,
        problem=verdict.problem,
        message=verdict.message,
        injected_s=transcript.injected_s,
        ttft_s=first.mean_s,
        calls=transcript.calls,
        answers=transcript.answers,
    )


async def _checked(world: World, entry: Entry, transcript: Transcript) -> Verdict:
    """What the package's checker says; an entry without anything to check has done well."""
    if entry.answers is not None:
        return await world.check_answer(transcript.answers[-1], entry.answers)
    if entry.reference:
        return await world.check(transcript.calls)
    return Verdict(True)
