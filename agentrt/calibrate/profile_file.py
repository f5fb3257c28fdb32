"""A fit as a cost profile."""

from __future__ import annotations

import json
from pathlib import Path

from agentrt.calibrate.fit import Fit
from agentrt.replay.atomic_file import atomic_file
from agentrt_engine.simulated.profile import CostProfile, load_profile


def make_profile(
    fit: Fit, *, name: str, title: str, source: str, kv_bytes_per_token: float
) -> CostProfile:
    """The profile; the way of a request in and out is no part of it."""
    return CostProfile(
        name=name,
        title=title,
        source=source,
        base_ms=_digits(fit.fixed_s * 1e3),
        overhead_ms=0.0,
        decode_ns_per_kv_token=_digits(fit.decode_s * 1e9),
        prefill_us_per_token=_digits(fit.prefill_s * 1e6),
        prefill_ns_per_token_and_position=_digits(fit.position_s * 1e9),
        kv_bytes_per_token=float(round(kv_bytes_per_token)),
        decode_us_per_sequence=_digits(fit.sequence_s * 1e6),
        mixed_steps=fit.mixed_steps,
    )


def profile_text(profile: CostProfile) -> str:
    """As TOML."""
    texts = {"title": profile.title, "source": profile.source}
    numbers = {
        "base_ms": profile.base_ms,
        "overhead_ms": profile.overhead_ms,
        "decode_ns_per_kv_token": profile.decode_ns_per_kv_token,
        "decode_us_per_sequence": profile.decode_us_per_sequence,
        "prefill_us_per_token": profile.prefill_us_per_token,
        "prefill_ns_per_token_and_position": profile.prefill_ns_per_token_and_position,
        "kv_bytes_per_token": profile.kv_bytes_per_token,
    }
    # A JSON string is a TOML string.
    lines = [f"{field} = {json.dumps(text, ensure_ascii=False)}" for field, text in texts.items()]
    lines += [f"{field} = {number!r}" for field, number in numbers.items()]
    lines.append(f"mixed_steps = {json.dumps(profile.mixed_steps)}")
    return "\n".join(lines) + "\n"


def write_profile(path: Path, profile: CostProfile) -> CostProfile:
    """Write a profile and read it back as `agentrt replay --profile` does.

    Raises:
        SettingError: the file cannot be written.
    """
    with atomic_file(path, what="profile") as file:
        file.write(profile_text(profile).encode())
    return load_profile(str(path)) if path.is_file() else profile


def _digits(value: float) -> float:
    """Four significant digits: no measurement has more."""
    return float(f"{value:.4g}")
