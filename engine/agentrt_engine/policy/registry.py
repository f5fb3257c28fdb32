"""The policies by name, and their parameters: `NAME` or `NAME:parameter=value,…`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, get_type_hints

from agentrt_engine.errors import UnknownPolicy
from agentrt_engine.policy.aimd import Aimd
from agentrt_engine.policy.asym import Asym
from agentrt_engine.policy.base import BasePolicy
from agentrt_engine.policy.continuum import Continuum
from agentrt_engine.policy.fixed_ttl import FixedTtl
from agentrt_engine.policy.guard import Guard
from agentrt_engine.policy.guard_srpt import GuardSrpt
from agentrt_engine.policy.infercept import InferCept
from agentrt_engine.policy.lpm import Lpm
from agentrt_engine.policy.lru import Lru
from agentrt_engine.policy.oracle import InfiniteKv, OraclePauses, OracleRetention, OracleWork
from agentrt_engine.policy.plas import Plas
from agentrt_engine.policy.policy_file import SUFFIX, load_policy_file
from agentrt_engine.policy.program_fcfs import ProgramFcfs
from agentrt_engine.policy.protocol import Memory, Policy
from agentrt_engine.policy.static_cap import StaticCap
from agentrt_engine.policy.thunder import Thunder

_POLICIES: dict[str, type[BasePolicy]] = {
    policy.name: policy
    for policy in (
        Guard,
        GuardSrpt,
        Lru,
        Lpm,
        ProgramFcfs,
        StaticCap,
        FixedTtl,
        Continuum,
        Plas,
        InferCept,
        Thunder,
        Aimd,
        Asym,
        OraclePauses,
        OracleWork,
        OracleRetention,
        InfiniteKv,
    )
}

DEFAULT_POLICY = Guard.name


def policy_names() -> list[str]:
    """Every registered name."""
    return list(_POLICIES)


def live_policy_names() -> list[str]:
    """The policies that a live engine can run, `DEFAULT_POLICY` among them."""
    return [name for name, policy in _POLICIES.items() if not _needs(policy)]


def make_live_policy(specification: str) -> Policy:
    """As `make_policy`, for an engine that serves.

    Raises:
        UnknownPolicy: as `make_policy`, or it needs what only a simulated engine has.
    """
    name = specification.partition(":")[0]
    if not name.endswith(SUFFIX) and name not in _POLICIES:
        raise _unknown(name, live_policy_names())
    policy = make_policy(specification)
    if needs := _needs(policy):
        raise UnknownPolicy(
            f"policy {name!r} {needs}, so only agentrt replay can run it: "
            f"expected one of {', '.join(live_policy_names())}"
        )
    return policy


def _needs(policy: Policy | type[BasePolicy]) -> str:
    """What a policy needs that no live engine has; empty if nothing."""
    if policy.memory is not Memory.REAL:
        return "pretends memory that does not exist"
    return "knows the future" if policy.knows_future else ""


def make_policy(specification: str) -> Policy:
    """A new policy: its name, and after a colon the parameters that differ from its defaults.

    Instead of a name, a Python file that defines a policy.

    Raises:
        UnknownPolicy: there is no such policy or parameter, or the value does not fit.
    """
    name, _, parameters = specification.partition(":")
    if name.endswith(SUFFIX):
        return _configured(specification, load_policy_file(name), parameters)
    if name not in _POLICIES:
        raise _unknown(name, policy_names())
    return _configured(specification, _POLICIES[name], parameters)


def _unknown(name: str, known: list[str]) -> UnknownPolicy:
    near = get_close_matches(name, known, n=1)
    return UnknownPolicy(
        f"unknown policy {name!r}: expected one of {', '.join(known)}",
        hint=f"did you mean {near[0]}?" if near else "",
    )


def _configured(specification: str, policy: Callable[..., Policy], parameters: str) -> Policy:
    values = {}
    name = specification.partition(":")[0]
    for assignment in filter(None, parameters.split(",")):
        parameter, _, value = assignment.partition("=")
        parameter = parameter.strip()
        values[parameter] = _parse(name, policy, parameter, value.strip())
    try:
        return policy(**values)
    except ValueError as error:
        raise UnknownPolicy(f"policy {specification!r}: {error}") from error


def policy_parameters(name: str) -> dict[str, Any]:
    """The parameters of a policy and their defaults."""
    return _parameters(_POLICIES[name])


def _parameters(policy: Callable[..., Policy]) -> dict[str, Any]:
    signature = inspect.signature(policy)
    return {parameter.name: parameter.default for parameter in signature.parameters.values()}


def _parse(name: str, policy: Callable[..., Policy], parameter: str, text: str) -> Any:
    known = _parameters(policy)
    if parameter not in known:
        expected = f"expected {', '.join(known)}" if known else "it has none"
        raise UnknownPolicy(f"policy {name} has no parameter {parameter!r}: {expected}")
    kind = get_type_hints(policy.__init__)[parameter]
    parse, wanted = _KINDS.get(kind, (kind, ""))
    try:
        return parse(text)
    except (KeyError, ValueError) as error:
        raise UnknownPolicy(
            f"policy {name}: {parameter}={text!r}: expected {wanted or ', '.join(kind)}"
        ) from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _truth(text: str) -> bool:
    return {"yes": True, "no": False, "true": True, "false": False}[text.lower()]


_KINDS: dict[type, tuple[Callable[[str], Any], str]] = {
    int: (int, "a whole number"),
    float: (_finite, "a finite number"),
    bool: (_truth, "yes or no"),
}
