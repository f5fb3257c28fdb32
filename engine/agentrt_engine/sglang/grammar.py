"""Escapes in strings of limited length, for clients that ask (`wire.bounded_strings`)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from sglang.srt.constrained.json_schema_validation import (
    UnsupportedJSONSchemaFeature,
    validate_xgrammar_json_schema,
)
from sglang.srt.plugins.hook_registry import HookRegistry, HookType
from xgrammar import Grammar

from agentrt_engine.wire.bounded_strings import ESCAPES_COMMENT, MAX_AFTER_ESCAPE, MAX_ESCAPES

_BACKEND = "sglang.srt.constrained.xgrammar_backend.XGrammarGrammarBackend"

# What xgrammar 0.2.7 writes for a string of limited length: `X_characters{0, 200}` with
# `X_characters ::= (([^\"\\\r\n]))`. Alternatives inside the counted rule would cost 150 ms
# per token, so escapes follow it in a counted rule of their own (0.04 ms per token).
_BOUNDED = re.compile(r"(\w+_characters)\{\d+, \d+\}")
_CHARACTER = r"_characters ::= (([^\"\\\r\n]))"
_JSON_CHARACTER = r"_characters ::= (([^\0-\x1f\"\\]))"
_ESCAPED = rf'\g<0> (("\\\\" basic_escape \g<1>{{0, {MAX_AFTER_ESCAPE}}})){{0, {MAX_ESCAPES}}}'


def register() -> None:
    """Hook xgrammar's backend in the scheduler process."""

    def dispatch_json(original: Callable[[Any, str], Any], backend: Any, schema: str) -> Any:
        if not asks_for_escapes(schema):
            return original(backend, schema)
        try:
            validate_xgrammar_json_schema(json.loads(schema))
            grammar = Grammar.from_json_schema(schema, any_whitespace=backend.any_whitespace)
        except (RuntimeError, UnsupportedJSONSchemaFeature):
            return original(backend, schema)  # it says what is wrong with the schema
        return backend.dispatch_ebnf(admit_escapes(str(grammar)))

    HookRegistry.register(f"{_BACKEND}.dispatch_json", dispatch_json, HookType.AROUND)


def admit_escapes(grammar: str) -> str:
    """The grammar, in xgrammar's EBNF, with escapes in its bounded strings."""
    return _BOUNDED.sub(_ESCAPED, grammar.replace(_CHARACTER, _JSON_CHARACTER))


def asks_for_escapes(schema: str) -> bool:
    """Whether the client put the comment at the root of its schema."""
    try:
        root = json.loads(schema)
    except ValueError:
        return False
    return isinstance(root, dict) and root.get("$comment") == ESCAPES_COMMENT
