"""What a step of an engine costs.

    step = fixed + decode·(KV tokens in the batch) + sequence·(turns that decode)
           + Σ over prefilled tokens (c1 + c2·position)

An engine with `mixed_steps` does all of it in one step; another one prefills in steps of their own.
`sequence` is 0 where a step takes as long for one turn as for many: on a GPU that waits for
weights. On a CPU the matrix products grow with the batch.

A profile is a TOML file; `profiles/` beside this file holds those that come along.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from agentrt_engine.errors import ProfileError
from agentrt_engine.policy.protocol import Costs

_FOLDER = files("agentrt_engine.simulated") / "profiles"

#: Fields of a profile file that a number must be given for, each not negative.
_NUMBERS = (
    "base_ms",
    "overhead_ms",
    "decode_ns_per_kv_token",
    "prefill_us_per_token",
    "prefill_ns_per_token_and_position",
    "kv_bytes_per_token",
)
#: Numbers that are 0 where they are not given.
_OPTIONAL_NUMBERS = ("decode_us_per_sequence",)
_TEXTS = ("title", "source")
_MIXED = "mixed_steps"


@dataclass(frozen=True, slots=True)
class CostProfile:
    """A cost model of an engine.

    Attributes:
        base_ms: of a step with nothing in it on the GPU.
        overhead_ms: that scheduling and launching add to a step.
        kv_bytes_per_token: of KV, over all layers and ranks.
        decode_us_per_sequence: that each decoding turn adds to a step.
        source: where the figures are from.
        mixed_steps: whether the engine prefills and decodes in one step.
    """

    name: str
    title: str
    source: str
    base_ms: float
    overhead_ms: float
    decode_ns_per_kv_token: float
    prefill_us_per_token: float
    prefill_ns_per_token_and_position: float
    kv_bytes_per_token: float
    decode_us_per_sequence: float = 0.0
    mixed_steps: bool = True

    def costs(self, *, host_gbps: float | None = None, host_latency_s: float = 0.0) -> Costs:
        """In seconds.

        Args:
            host_gbps: bandwidth from host memory, 10^9 bytes per second.
            host_latency_s: of each transfer from host memory.
        """
        return Costs(
            fixed_s=(self.base_ms + self.overhead_ms) * 1e-3,
            decode_s=self.decode_ns_per_kv_token * 1e-9,
            prefill_s=self.prefill_us_per_token * 1e-6,
            position_s=self.prefill_ns_per_token_and_position * 1e-9,
            host_s=None if host_gbps is None else self.kv_bytes_per_token / (host_gbps * 1e9),
            host_latency_s=host_latency_s,
            sequence_s=self.decode_us_per_sequence * 1e-6,
        )


def profile_names() -> list[str]:
    """The profiles that come along."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _FOLDER.iterdir()
        if entry.name.endswith(".toml")
    )


def load_profile(name_or_file: str) -> CostProfile:
    """A profile by its name, or from a file of one's own.

    Raises:
        ProfileError: there is none, or a field of it is missing or wrong.
    """
    names = profile_names()
    if name_or_file in names:
        text = (_FOLDER / f"{name_or_file}.toml").read_text("utf-8")
        return _parse(name_or_file, name_or_file, text)
    path = Path(name_or_file)
    if not path.is_file():
        near = get_close_matches(name_or_file, names, n=1)
        raise ProfileError(
            f"no profile and no file {name_or_file!r}: expected one of {', '.join(names)}, "
            "or a TOML file",
            hint=f"did you mean {near[0]}?" if near else "",
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be read as text: {error}") from error
    return _parse(path.stem, str(path), text)


def _parse(name: str, place: str, text: str) -> CostProfile:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{place}: not TOML: {error}") from error
    known = (*_TEXTS, *_NUMBERS, *_OPTIONAL_NUMBERS, _MIXED)
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise ProfileError(f"{place}: unknown field {unknown[0]!r}: expected {', '.join(known)}")
    document = dict.fromkeys(_OPTIONAL_NUMBERS, 0) | document
    numbers = {field: _number(place, document, field) for field in (*_NUMBERS, *_OPTIONAL_NUMBERS)}
    title, source = (str(document.get(field, "")) for field in _TEXTS)
    mixed = document.get(_MIXED, True)
    if not isinstance(mixed, bool):
        raise ProfileError(f"{place}: {_MIXED} = {mixed!r}: expected true or false")
    return CostProfile(name, title, source, **numbers, mixed_steps=mixed)


def _number(place: str, document: dict[str, Any], field: str) -> float:
    value = document.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProfileError(f"{place}: {field} = {value!r}: expected a number")
    if not math.isfinite(value) or value < 0:
        raise ProfileError(f"{place}: {field} = {value!r}: expected a finite number >= 0")
    return float(value)
