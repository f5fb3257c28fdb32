"""Looks at SGLang as an engine process sees it, in a process of its own.

    python sglang_probe.py < request.json > report.json

A child, because the compatibility layer changes torch, and plug-ins load once per process.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, TypedDict


class Member(TypedDict):
    """A name of SGLang.

    parameters: of a function, in order.
    attributes: of a class: what it declares and what its methods read or set on `self`.
    """

    parameters: list[str]
    attributes: list[str]


class Report(TypedDict):
    """What the probe saw.

    active: the plug-in says that it is active.
    attention: names of attention backends.
    registered, applied: targets of hooks.
    members: by path; a path that leads nowhere is absent.
    grammars: per schema, xgrammar's own EBNF, the EBNF that constrains decoding in the engine
        (None: the schema is refused), and whether each text is accepted.
    """

    active: bool
    attention: list[str]
    registered: list[str]
    applied: list[str]
    members: dict[str, Member]
    grammars: list[tuple[str | None, str | None, list[bool]]]


def probe(
    *,
    flag: Mapping[str, str],
    members: Sequence[str] = (),
    grammars: Sequence[tuple[str, Sequence[str]]] = (),
) -> Report:
    """Load the plug-ins as SGLang does, and look.

    Args:
        flag: added to the environment.
        members: paths to look up.
        grammars: JSON schemas, each with texts to try.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AGENTRT_", "SGLANG_"))}
    done = subprocess.run(
        [sys.executable, "-P", __file__],
        input=json.dumps({"members": members, "grammars": grammars}),
        capture_output=True,
        text=True,
        env={**inherited, **flag},
    )
    assert done.returncode == 0, done.stderr
    report: Report = json.loads(done.stdout)
    return report


def _main() -> None:
    request = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        report = _look(request)
    json.dump(report, sys.stdout)


def _look(request: dict[str, Any]) -> Report:
    from agentrt_engine.sglang import launch  # noqa: F401 - it prepares the process

    from sglang.srt.plugins import load_plugins  # isort: skip
    from sglang.srt.layers.attention.attention_registry import ATTENTION_BACKENDS
    from sglang.srt.plugins.hook_registry import HookRegistry

    load_plugins()

    from agentrt_engine.sglang import plugin

    members = {path: _member(path) for path in request["members"]}
    return {
        "active": plugin.is_active(),
        "attention": sorted(ATTENTION_BACKENDS),
        "registered": sorted(HookRegistry._hooks),
        "applied": sorted(HookRegistry._patched),
        "members": {path: member for path, member in members.items() if member is not None},
        "grammars": [_constrain(schema, texts) for schema, texts in request["grammars"]],
    }


def _member(path: str) -> Member | None:
    try:
        value = pkgutil.resolve_name(path)
    except (ImportError, AttributeError):
        return None
    member: Member = {"parameters": [], "attributes": []}
    if callable(value) and not isinstance(value, type):
        member["parameters"] = list(inspect.signature(value).parameters)
    if isinstance(value, type):
        parents = [parent for parent in value.__mro__ if parent.__module__.startswith("sglang")]
        names = {name for parent in parents for name in {**vars(parent), **_declared(parent)}}
        for parent in parents:
            names.update(re.findall(r"\bself\.(\w+)", inspect.getsource(parent)))
        member["attributes"] = sorted(names)
    return member


def _declared(cls: type) -> dict[str, Any]:
    return dict(vars(cls).get("__annotations__", {}))


def _constrain(schema: str, texts: list[str]) -> tuple[str | None, str | None, list[bool]]:
    """Through the hooked backend, whose compiler is replaced by one that needs no tokenizer."""
    from sglang.srt.constrained.xgrammar_backend import XGrammarGrammarBackend
    from xgrammar import Grammar
    from xgrammar.testing import _is_grammar_accept_string

    def ebnf(schema: str, **_options: Any) -> str:
        return str(Grammar.from_json_schema(schema, any_whitespace=False))

    compiler = SimpleNamespace(
        compile_json_schema=ebnf,
        compile_builtin_json_grammar=lambda: str(Grammar.builtin_json_grammar()),
        compile_grammar=str,
    )
    backend = SimpleNamespace(
        any_whitespace=False,
        max_whitespace_cnt=None,
        grammar_compiler=compiler,
        _from_context=lambda context, *_rest: context,
    )
    backend.dispatch_ebnf = lambda text: XGrammarGrammarBackend.dispatch_ebnf(backend, text)
    used = XGrammarGrammarBackend.dispatch_json(backend, schema)
    try:
        own = ebnf(schema)
    except RuntimeError:
        own = None
    if not isinstance(used, str):
        return own, None, []
    grammar = Grammar.from_ebnf(used)
    return own, used, [_is_grammar_accept_string(grammar, text) for text in texts]


if __name__ == "__main__":
    _main()
