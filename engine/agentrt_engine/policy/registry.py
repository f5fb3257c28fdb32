"""The policies by name."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from agentrt_engine.errors import UnknownPolicy
from agentrt_engine.policy.lru import Lru
from agentrt_engine.policy.program_fcfs import ProgramFcfs
from agentrt_engine.policy.protocol import Policy

_POLICIES: dict[str, Callable[[], Policy]] = {Lru.name: Lru, ProgramFcfs.name: ProgramFcfs}

DEFAULT_POLICY = ProgramFcfs.name


def policy_names() -> list[str]:
    """Every registered name."""
    return list(_POLICIES)


def make_policy(name: str) -> Policy:
    """The policy of this name.

    Raises:
        UnknownPolicy: there is none.
    """
    if name not in _POLICIES:
        near = get_close_matches(name, _POLICIES, n=1)
        raise UnknownPolicy(
            f"unknown policy {name!r}: expected one of {', '.join(_POLICIES)}",
            hint=f"did you mean {near[0]}?" if near else "",
        )
    return _POLICIES[name]()
