"""Pure decisions: which waiting turn runs next.

A policy sees plain values and returns decisions; it has no clock, does no I/O and imports
neither torch nor SGLang. One policy is one file and one registered name.
"""

from agentrt_engine.policy.protocol import Policy, WaitingTurn
from agentrt_engine.policy.registry import DEFAULT_POLICY, make_policy, policy_names

__all__ = ["DEFAULT_POLICY", "Policy", "WaitingTurn", "make_policy", "policy_names"]
