"""All trace formats that can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agentrt.replay.formats.agentic_mooncake import (
    looks_like_agentic_mooncake,
    read_agentic_mooncake,
)
from agentrt.replay.formats.agentrt_trace import looks_like_agentrt_trace, read_agentrt_trace
from agentrt.replay.formats.claude_code import looks_like_claude_code, read_claude_code
from agentrt.replay.formats.codex import looks_like_codex, read_codex
from agentrt.replay.formats.contents import TraceContents
from agentrt.replay.formats.dynamo import looks_like_dynamo, read_dynamo
from agentrt.replay.formats.mini_swe_agent import looks_like_mini_swe_agent, read_mini_swe_agent
from agentrt.replay.formats.mooncake import looks_like_mooncake, read_mooncake
from agentrt.replay.formats.otlp import looks_like_otlp, read_otlp
from agentrt.replay.formats.source import Opening, TraceSource
from agentrt.replay.formats.trie import looks_like_trie, read_trie
from agentrt.replay.formats.weka import looks_like_weka, read_weka


class TraceFormat(StrEnum):
    """Who writes traces like this."""

    AGENTRT = "agentrt"
    MOONCAKE = "mooncake"
    AGENTIC_MOONCAKE = "agentic-mooncake"
    TRIE = "trie"
    WEKA = "weka"
    DYNAMO = "dynamo"
    CLAUDE_CODE = "claude-code"
    CODEX = "codex"
    MINI_SWE_AGENT = "mini-swe-agent"
    OTLP = "otlp"


@dataclass(frozen=True, slots=True)
class FormatInfo:
    """How a format is read.

    Attributes:
        title: what it is, for people.
        experimental: never tried on a file from its real producer.
        reader: makes programs of a file.
        looks_like: whether a file that begins like this is of the format.
        suffix: usual end of a file's name, for content that looks like several formats.
    """

    title: str
    experimental: bool
    reader: Callable[[TraceSource], TraceContents]
    looks_like: Callable[[Opening], bool]
    suffix: str = ".jsonl"


#: In the order in which they are tried.
FORMATS: dict[TraceFormat, FormatInfo] = {
    TraceFormat.AGENTRT: FormatInfo(
        "agentrt.trace.v1", False, read_agentrt_trace, looks_like_agentrt_trace
    ),
    TraceFormat.AGENTIC_MOONCAKE: FormatInfo(
        "agentic Mooncake JSONL (Dynamo)", True, read_agentic_mooncake, looks_like_agentic_mooncake
    ),
    TraceFormat.MOONCAKE: FormatInfo("Mooncake JSONL", False, read_mooncake, looks_like_mooncake),
    TraceFormat.TRIE: FormatInfo("trie JSONL", False, read_trie, looks_like_trie),
    TraceFormat.WEKA: FormatInfo(
        "weka / AgentX sessions", False, read_weka, looks_like_weka, ".json"
    ),
    TraceFormat.DYNAMO: FormatInfo(
        "dynamo.request.trace.v1, dynamo.agent.trace.v1", True, read_dynamo, looks_like_dynamo
    ),
    TraceFormat.CLAUDE_CODE: FormatInfo(
        "Claude Code session", True, read_claude_code, looks_like_claude_code
    ),
    TraceFormat.CODEX: FormatInfo("Codex rollout", False, read_codex, looks_like_codex),
    TraceFormat.MINI_SWE_AGENT: FormatInfo(
        "mini-swe-agent 1.1 trajectory",
        True,
        read_mini_swe_agent,
        looks_like_mini_swe_agent,
        ".traj.json",
    ),
    TraceFormat.OTLP: FormatInfo(
        "OTLP JSON, GenAI or OpenInference spans", True, read_otlp, looks_like_otlp, ".json"
    ),
}


def format_titles() -> list[str]:
    """One line per format for people: name, title, and whether it is experimental."""
    return [
        f"{name}: {info.title}{' (experimental)' if info.experimental else ''}"
        for name, info in FORMATS.items()
    ]
