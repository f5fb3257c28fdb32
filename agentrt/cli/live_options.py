"""Options of `agentrt replay` for live engines."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from agentrt.cli.simulated_options import at_least_one, positive
from agentrt.embedded import API_KEY_VARIABLE
from agentrt.replay.live.address import EngineAddress, parse_addresses
from agentrt.replay.live.engine import DEFAULT_TIMEOUT_S
from agentrt.replay.live.run import HintMode
from agentrt.replay.live.settings import LiveSettings
from agentrt.replay.live.tokens import DEFAULT_VOCABULARY
from agentrt.replay.quantity import token_count

LIVE_GROUP = Group("Live engines", sort_key=3)


@Parameter(name="*", group=LIVE_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """Live engines, and how programs are replayed on them; None where nothing was given."""

    engine: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="Measure on this engine instead of simulating one: URL, or NAME=URL for the name "
            "of its row. Any with SGLang's /generate, or /v1/completions that takes token ids. "
            "Several are compared, run by run in turns.",
        ),
    ] = None
    engine_key: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            env_var=API_KEY_VARIABLE,
            show_env_var=True,
            help="Key of the engines; NAME=KEY for that of one. Better in the variable than here: "
            "arguments show in the list of processes.",
        ),
    ] = None
    model: Annotated[
        str | None, Parameter(help="Name of the model; by default the first that an engine lists.")
    ] = None
    time_scale: Annotated[
        float | None,
        Parameter(validator=positive, help="Multiply pauses and gaps between arrivals by this."),
    ] = None
    scale_tokens: Annotated[
        float | None,
        Parameter(
            validator=positive,
            help="Multiply all token counts by this, to fit a small model; each stays at least 1.",
        ),
    ] = None
    max_context: Annotated[
        str | None,
        Parameter(
            help="Leave out programs with a turn of more tokens, prompt and output; by default "
            "what the engines say."
        ),
    ] = None
    repeats: Annotated[
        int | None,
        Parameter(validator=at_least_one, help="Run every seed so often, with other token ids."),
    ] = None
    flush: Annotated[
        bool, Parameter(negative="", help="Empty the cache before each run (SGLang).")
    ] = False
    hints: Annotated[
        HintMode | None,
        Parameter(
            help="What engines are told besides identity: nothing, or starts and ends of tools; "
            "by default tools where our plug-in answers."
        ),
    ] = None
    timeout: Annotated[
        float | None,
        Parameter(
            validator=positive,
            help=f"Seconds for a request, waiting included; by default {DEFAULT_TIMEOUT_S:g}.",
        ),
    ] = None
    vocab: Annotated[
        int | None,
        Parameter(
            validator=at_least_one,
            help="Tokens of the vocabulary, for models with fewer than the "
            f"{DEFAULT_VOCABULARY:,} of the default; some engines crash at an id beyond.",
        ),
    ] = None
    keep_going: Annotated[
        bool, Parameter(negative="", help="Exit code 0 although programs failed.")
    ] = False
    save_outputs: Annotated[
        Path | None,
        Parameter(help="Write the token ids of every turn to this file (JSONL)."),
    ] = None

    def addresses(self) -> list[EngineAddress]:
        """The engines; none for a simulated replay.

        Raises:
            SettingError: one is not the URL of an engine.
        """
        return parse_addresses(self.engine or [], self.engine_key or [])

    def given(self) -> list[str]:
        """Options that were given, by name. A key may come from a variable that is always set."""
        return [
            "--" + field.name.replace("_", "-")
            for field in fields(self)
            if getattr(self, field.name) and field.name != "engine_key"
        ]

    def settings(self, pause_cap_s: float | None) -> LiveSettings:
        """How programs are replayed.

        Args:
            pause_cap_s: longer pauses are cut to this; None for no cap.

        Raises:
            SettingError: a number is none.
        """
        context = self.max_context
        return LiveSettings(
            time_scale=self.time_scale or 1.0,
            token_scale=self.scale_tokens or 1.0,
            max_context=None if context is None else token_count("--max-context", context),
            pause_cap_s=pause_cap_s,
            repeats=self.repeats or 1,
            flush=self.flush,
            hints=self.hints,
            timeout_s=self.timeout or DEFAULT_TIMEOUT_S,
            vocabulary=self.vocab or DEFAULT_VOCABULARY,
            model=self.model,
        )
