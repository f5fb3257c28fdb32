"""How a request bears the key of an engine."""

from __future__ import annotations


def bearer(key: str | None) -> dict[str, str]:
    """The header that carries the key; none without a key."""
    return {"Authorization": f"Bearer {key}"} if key else {}
