"""Options of commands that simulate an engine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from agentrt.errors import ReplayError
from agentrt.replay.parallel import usable_cores
from agentrt.replay.quantity import token_count
from agentrt.replay.replay_settings import (
    DEFAULT_CHUNK,
    DEFAULT_HOST_GBPS,
    DEFAULT_MAX_RUNNING,
    DEFAULT_PAGE,
    DEFAULT_PROFILE,
    SimulatedSettings,
)
from agentrt.replay.runs_file import ListedSettings
from agentrt_engine.simulated.profile import CostProfile, load_profile, profile_names

ENGINE_GROUP = Group("Simulated engine", sort_key=2)

#: With fewer turns in all, starting worker processes takes longer than the runs.
_TURNS_WORTH_PROCESSES = 20_000


def at_least_one(_type: object, value: int | None) -> None:
    """Validator of a whole number."""
    if value is not None and value < 1:
        raise ValueError("expected at least 1")


def positive(_type: object, value: float | None) -> None:
    """Validator of a rate, a time or a bandwidth."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ValueError("expected a number greater than 0")


def not_negative(_type: object, value: float | None) -> None:
    """Validator of a time that may be nothing."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise ValueError("expected a number that is not negative")


Workers = Annotated[
    int | None,
    Parameter(
        validator=at_least_one,
        help="Processes that simulate; by default one per core where that saves time. The result "
        "does not depend on it.",
    ),
]


@Parameter(name="*", group=ENGINE_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """A simulated engine, but for its KV memory; None where an option was not given."""

    profile: Annotated[
        str | None,
        Parameter(
            help=f"Cost profile: a file, or one of {', '.join(profile_names())}; by default "
            f"{DEFAULT_PROFILE}."
        ),
    ] = None
    chunk: Annotated[
        int | None,
        Parameter(
            validator=at_least_one,
            help=f"Tokens prefilled in one step at most; by default {DEFAULT_CHUNK:,}.",
        ),
    ] = None
    max_running: Annotated[
        int | None,
        Parameter(
            validator=at_least_one,
            help=f"Turns that run at once at most; by default {DEFAULT_MAX_RUNNING}.",
        ),
    ] = None
    page: Annotated[
        int | None,
        Parameter(
            validator=at_least_one,
            help=f"Tokens of a page of KV memory; by default {DEFAULT_PAGE}.",
        ),
    ] = None
    pause_cap: Annotated[
        float | None,
        Parameter(
            validator=not_negative,
            help="Cut longer pauses to this many seconds; by default they stay as they are.",
        ),
    ] = None
    host_tokens: Annotated[
        str | None,
        Parameter(help="Size of a host tier for KV in tokens; by default there is none."),
    ] = None
    host_gbps: Annotated[
        float | None,
        Parameter(
            validator=positive,
            help=f"Bandwidth from the host tier, 10^9 bytes/s; by default {DEFAULT_HOST_GBPS:g}.",
        ),
    ] = None
    host_latency_ms: Annotated[
        float | None,
        Parameter(validator=not_negative, help="Latency of each transfer; by default none."),
    ] = None

    def settings(
        self, kv_tokens: int | None, listed: ListedSettings | None = None
    ) -> SimulatedSettings:
        """The engine to simulate.

        Args:
            kv_tokens: size of its memory, None where nobody gave one.
            listed: what a file of lists was made with, for options that were not given.

        Raises:
            ReplayError: the size is missing, or an option makes no sense without another.
            ProfileError: the profile does not exist or cannot be used.
        """
        listed = listed or ListedSettings()
        name = self.profile or listed.profile or DEFAULT_PROFILE
        profile = load_profile(name)
        page = self.page or listed.page or DEFAULT_PAGE
        if kv_tokens is None:
            raise ReplayError("--kv-tokens is missing: how much KV memory?", hint=_sizes(profile))
        if kv_tokens < page:
            raise ReplayError(f"--kv-tokens {kv_tokens}: expected at least a page, {page} tokens")
        if self.host_tokens is None and (self.host_gbps or self.host_latency_ms):
            raise ReplayError(
                "--host-gbps and --host-latency-ms describe a host tier: expected --host-tokens",
                hint="e.g. --host-tokens 4M",
            )
        return SimulatedSettings(
            profile=profile,
            profile_option=name,
            kv_tokens=kv_tokens,
            chunk=self.chunk or listed.chunk or DEFAULT_CHUNK,
            max_running=self.max_running or listed.max_running or DEFAULT_MAX_RUNNING,
            page=page,
            pause_cap_s=listed.pause_cap_s if self.pause_cap is None else self.pause_cap,
            host_tokens=_optional_tokens("--host-tokens", self.host_tokens),
            host_gbps=self.host_gbps or DEFAULT_HOST_GBPS,
            host_latency_ms=self.host_latency_ms or 0.0,
        )


def processes(workers: int | None, turns: int) -> int:
    """How many processes simulate `turns` turns in all."""
    if workers is not None:
        return workers
    return usable_cores() if turns >= _TURNS_WORTH_PROCESSES else 1


def _optional_tokens(option: str, text: str | None) -> int | None:
    return None if text is None else token_count(option, text)


def _sizes(profile: CostProfile) -> str:
    gigabytes = 400_000 * profile.kv_bytes_per_token / 1e9
    return f"e.g. --kv-tokens 400k, which is {gigabytes:.0f} GB with {profile.name}"
