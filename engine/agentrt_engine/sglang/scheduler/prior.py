"""What steps are thought to cost before any was measured."""

from __future__ import annotations

from agentrt_engine.policy import Costs
from agentrt_engine.simulated.profile import load_profile

#: SmolLM2-135M in bf16 on two cores; measured, see docs/benchmarks/live-cpu.md.
_CPU = Costs(fixed_s=0.026, decode_s=5e-6, prefill_s=5.6e-4, position_s=1.1e-6, sequence_s=1.55e-3)

#: For a CUDA device of which nothing is known; the first hundred steps replace it.
_CUDA_PROFILE = "llama-3.1-8b-h100"


def prior_costs(profile: str | None, device: str) -> Costs:
    """Costs to begin with.

    Args:
        profile: name or file of a cost profile; None: typical of the device.

    Raises:
        ProfileError: the profile does not exist or cannot be used.
    """
    if profile is not None:
        return load_profile(profile).costs()
    return _CPU if device == "cpu" else load_profile(_CUDA_PROFILE).costs()
