"""Options of a simulated engine that serves LoRA adapters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from cyclopts import Parameter

from agentrt.cli.simulated_options import ENGINE_GROUP, at_least_one
from agentrt.errors import ReplayError
from agentrt.replay.adapters import count_adapters, with_adapters
from agentrt.replay.replay_settings import SimulatedSettings
from agentrt.replay.trace_file import Trace
from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.simulated.adapters import DEFAULT_RANK


@Parameter(name="*", group=ENGINE_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterOptions:
    """Adapters of the programs; None where an option was not given."""

    lora_sharing: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="What KV programs with different LoRA adapters share, one mode or several to "
            f"compare, separated by commas: {', '.join(LoraSharing)}; by default "
            f"{LoraSharing.OFF}. See docs/policies.md.",
        ),
    ] = None
    lora_rank: Annotated[
        int | None,
        Parameter(validator=at_least_one, help=f"Rank of all adapters; by default {DEFAULT_RANK}."),
    ] = None
    adapters: Annotated[
        int | None,
        Parameter(
            validator=at_least_one,
            help="Give the programs of a trace without adapters so many, in turn among those that "
            "begin alike; by default they run on the base model.",
        ),
    ] = None

    def given(self) -> dict[str, object]:
        """The options and their values."""
        return {
            "--lora-sharing": self.lora_sharing,
            "--lora-rank": self.lora_rank,
            "--adapters": self.adapters,
        }

    def modes(self) -> tuple[LoraSharing, ...]:
        """The modes to compare, each once.

        Raises:
            ReplayError: there is none of this name.
        """
        if self.lora_sharing is None:
            return (LoraSharing.OFF,)
        names = [name.strip() for text in self.lora_sharing for name in text.split(",")]
        for name in names:
            if name not in tuple(LoraSharing):
                raise ReplayError(
                    f"--lora-sharing {name}: expected one of {', '.join(LoraSharing)}",
                    hint="e.g. --lora-sharing off,base-lr",
                )
        return tuple(dict.fromkeys(map(LoraSharing, names)))

    def assigned(self, trace: Trace) -> Trace:
        """The trace, its programs with adapters if they are to be given some.

        Raises:
            ReplayError: they have some already.
        """
        return trace if self.adapters is None else with_adapters(trace, self.adapters)

    def settings(self, settings: SimulatedSettings, trace: Trace) -> SimulatedSettings:
        """The engine, with the adapters of the programs."""
        return replace(
            settings,
            adapters=count_adapters(trace.programs),
            assigned=self.adapters,
            lora_rank=self.lora_rank or DEFAULT_RANK,
            lora_sharing=self.modes(),
        )
