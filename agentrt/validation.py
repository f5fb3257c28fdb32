"""Validation errors in words that a model or a user can act on."""

from __future__ import annotations

from pydantic import ValidationError

#: Errors told at once; more would only bury the first.
_SHOWN = 5


def explain_errors(error: ValidationError) -> str:
    """One line: the place and the reason of each error, without pydantic's links."""
    errors = error.errors(include_url=False, include_context=False)
    reasons = [
        f"{'.'.join(str(part) for part in item['loc']) or 'input'}: {item['msg']}"
        for item in errors[:_SHOWN]
    ]
    if len(errors) > _SHOWN:
        reasons.append(f"and {len(errors) - _SHOWN} more")
    return "; ".join(reasons)
