"""Where the results of `agentrt replay` go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from agentrt.cli import console
from agentrt.cli.options import JsonTarget
from agentrt.errors import ReplayError
from agentrt.replay.chrome_trace import write_chrome_trace
from agentrt.replay.comparison import Compared
from agentrt.replay.report import ReportContent, write_report
from agentrt_engine.lora_sharing import LoraSharing

_OUTPUT_GROUP = Group("Output", sort_key=4)


@Parameter(name="*", group=_OUTPUT_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Where results go."""

    wide: Annotated[bool, Parameter(negative="", help="Print all columns, however wide.")] = False
    json: JsonTarget = None
    html: Annotated[Path | None, Parameter(help="Write a report with pictures to this file.")] = (
        None
    )
    chrome_trace: Annotated[
        Path | None,
        Parameter(
            help="Write the timeline of the first seed of each policy to this file, for Perfetto "
            "(ui.perfetto.dev)."
        ),
    ] = None

    @property
    def needs_timeline(self) -> bool:
        """Whether anything is drawn."""
        return self.html is not None or self.chrome_trace is not None

    def require_one_mode(self, modes: Sequence[LoraSharing], *, sweeps: bool) -> None:
        """Pictures and sweeps tell policies apart, not modes of LoRA sharing.

        Raises:
            ReplayError: there are several, and one of these is asked for.
        """
        if len(modes) > 1 and (sweeps or self.needs_timeline):
            raise ReplayError(
                f"--lora-sharing {','.join(modes)}: --sweep, --html and --chrome-trace show one",
                hint=f"e.g. --lora-sharing {modes[-1]}",
            )

    def write(self, document: dict[str, Any], compared: Compared) -> None:
        """Write all files that were asked for, each whole or not at all."""
        console.write_json(self.json, document)
        if self.chrome_trace is not None:
            write_chrome_trace(self.chrome_trace, compared.outcomes)
        if self.html is not None:
            with console.progress.status("Drawing the report"):
                content = ReportContent(document, compared.outcomes, compared.sweep)
                write_report(self.html, content)
