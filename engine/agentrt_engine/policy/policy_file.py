"""A policy of one's own: a Python file that defines one, usable wherever a name is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from agentrt_engine.errors import UnknownPolicy
from agentrt_engine.policy.base import BasePolicy
from agentrt_engine.policy.protocol import Policy

SUFFIX = ".py"


def load_policy_file(path: str) -> Callable[..., Policy]:
    """The policy class that a file defines.

    Raises:
        UnknownPolicy: the file cannot be run, or defines no policy or several.
    """
    module = _run(path)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, BasePolicy)
        and value.__module__ == module.__name__
        and value.name
    ]
    if len(found) != 1:
        names = ", ".join(policy.__name__ for policy in found) or "none"
        raise UnknownPolicy(
            f"{path}: defines {len(found)} policies ({names}): expected one subclass of "
            "agentrt_engine.policy.BasePolicy with a name"
        )
    return found[0]


def _run(path: str) -> ModuleType:
    file = Path(path)
    if not file.is_file():
        raise UnknownPolicy(f"no file {path}", hint="a policy is a name or a Python file")
    spec = importlib.util.spec_from_file_location(f"agentrt_policy_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UnknownPolicy(f"{path}: {type(error).__name__}: {error}") from error
    return module
