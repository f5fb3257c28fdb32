"""Calls as Python source, which is what the package's back ends and its checker take."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Mapping
from typing import Any

from agentrt_tools.bfcl.entries import Function


def render(name: str, arguments: Mapping[str, Any]) -> str:
    """Source of a call: `cd(folder='document')`. It is evaluated, so names have to be names.

    Raises:
        ValueError: a name is none.
    """
    for each in (name, *arguments):
        if not each.isidentifier() or keyword.iskeyword(each):
            raise ValueError(f"{each!r} is not a name")
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def parse(source: str, functions: Mapping[str, Function]) -> tuple[str, dict[str, Any]]:
    """Name and arguments of a call in source; those without a name take the parameters in order.

    Raises:
        ValueError: it is no call of one of the functions with literal arguments.
    """
    call = ast.parse(source.strip(), mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError(f"{source!r} is no call")
    name = call.func.id
    if name not in functions:
        raise ValueError(f"{source!r}: there is no function {name}")
    parameters = functions[name].parameters["properties"]
    arguments = {
        parameter: ast.literal_eval(value)
        for parameter, value in zip(parameters, call.args, strict=False)
    }
    for named in call.keywords:
        if named.arg is None:
            raise ValueError(f"{source!r}: arguments without a name")
        arguments[named.arg] = ast.literal_eval(named.value)
    return name, arguments
