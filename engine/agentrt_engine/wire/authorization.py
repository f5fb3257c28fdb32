"""How a request bears the key of an engine."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

_SHORT = 8


def bearer(key: str | None) -> dict[str, str]:
    """The header that carries the key; none without a key."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def short_name(key: str) -> str:
    """What a key is called where it must not be seen: the first hex digits of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:_SHORT]


def borne_key(headers: Mapping[str, str], keys: Sequence[str]) -> str | None:
    """Which of the keys the headers bear, as a bearer token or in `x-api-key`; None: none.

    Every key is compared, each in a time that does not depend on where it differs.

    Args:
        headers: names in lower case, values as Latin-1, as ASGI has them.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    candidates = [headers.get("x-api-key", ""), token.strip() if scheme.lower() == "bearer" else ""]
    borne = None
    for key in keys:
        for candidate in candidates:
            if hmac.compare_digest(candidate.encode("latin-1"), key.encode()):
                borne = key
    return borne
