"""Pure decisions: which waiting turn runs next, and whose idle KV stays.

A policy sees plain values and returns decisions; it has no clock, does no I/O and imports
neither torch nor SGLang. One policy is one file and one registered name.
"""

from agentrt_engine.policy.base import BasePolicy
from agentrt_engine.policy.expectation import Expectation
from agentrt_engine.policy.program import Context, Lease, Phase, Program, Turn
from agentrt_engine.policy.protocol import Costs, EngineView, Gate, Memory, Policy, Rank, Victim
from agentrt_engine.policy.registry import (
    DEFAULT_POLICY,
    live_policy_names,
    make_live_policy,
    make_policy,
    policy_names,
    policy_parameters,
)

__all__ = [
    "DEFAULT_POLICY",
    "BasePolicy",
    "Context",
    "Costs",
    "EngineView",
    "Expectation",
    "Gate",
    "Lease",
    "Memory",
    "Phase",
    "Policy",
    "Program",
    "Rank",
    "Turn",
    "Victim",
    "live_policy_names",
    "make_live_policy",
    "make_policy",
    "policy_names",
    "policy_parameters",
]
