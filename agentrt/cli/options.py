"""Parameters that several commands have, in one wording."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from agentrt_engine.device import Device, detect_device
from agentrt_engine.policy import live_policy_names


def _file_or_dash(_type: object, value: str | None) -> None:
    if value is not None and value.startswith("-") and value != "-":
        raise ValueError("expected a file, or - for stdout")
    if value is not None and not Path(value).parent.is_dir():
        raise ValueError(f"there is no folder {Path(value).parent}")


JsonTarget = Annotated[
    str | None,
    Parameter(
        name="--json",
        allow_leading_hyphen=True,
        validator=_file_or_dash,
        help="Write the result as JSON to this file; - is stdout, which then holds nothing else.",
    ),
]

PolicyName = Annotated[
    str,
    Parameter(
        help="Who runs next and whose KV stays; one of "
        f"{', '.join(live_policy_names())}, with parameters as in guard:headroom=0.02, or a Python "
        "file (docs/policies.md)."
    ),
]


class DeviceChoice(StrEnum):
    """`--device`: a device, or the one that this machine has."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def resolve(self) -> Device:
        """The device that is meant on this machine."""
        return detect_device() if self is DeviceChoice.AUTO else Device(self.value)
