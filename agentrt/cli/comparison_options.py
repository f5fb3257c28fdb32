"""Traces and policies of commands that compare policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from agentrt.cli import console
from agentrt.errors import ReplayError
from agentrt.replay.formats.catalog import FORMATS, TraceFormat
from agentrt.replay.policy_list import split_policies
from agentrt.replay.trace_file import Trace, load_traces
from agentrt_engine.policy import DEFAULT_POLICY, make_policy, policy_names

#: What engines do today, the published policy, and ours.
DEFAULT_POLICIES = list(dict.fromkeys(["lru", "continuum", DEFAULT_POLICY]))

_EXPERIMENTAL = ", ".join(name for name, info in FORMATS.items() if info.experimental)

PolicyList = Annotated[
    list[str] | None,
    Parameter(
        negative="",
        help="Policies, separated by commas, each with its parameters after a colon, such as "
        f"lru,static-cap:programs=8; by default {','.join(DEFAULT_POLICIES)}. Known: "
        f"{', '.join(policy_names())}, or a Python file that defines one (docs/policies.md).",
    ),
]
TraceFormatOption = Annotated[
    TraceFormat | None,
    Parameter(
        name="--format",
        help="Format of the traces; recognised by the content when absent. Experimental, never "
        f"tried on a file from its real producer: {_EXPERIMENTAL}.",
    ),
]


def chosen_policies(texts: Sequence[str] | None) -> list[str]:
    """The policies of `--policy`.

    Raises:
        UnknownPolicy: there is none of this name, or it has no such parameter.
    """
    policies = split_policies(texts, policy_names()) if texts else DEFAULT_POLICIES
    for policy in policies:
        make_policy(policy)
    if not policies:
        raise ReplayError("--policy is empty: expected at least one policy", hint="--policy lru")
    return policies


def read_traces(files: Sequence[Path], format: TraceFormat | None, *, command: str) -> Trace:
    """All files as one trace.

    Raises:
        ReplayError: there is no file.
        TraceError: one cannot be read.
    """
    if not files:
        raise ReplayError(
            "no trace was given, expected at least one FILE",
            hint=f"{command} FILE --kv-tokens 400k",
        )
    with console.progress.status("Reading traces"):
        return load_traces(files, format=format)
