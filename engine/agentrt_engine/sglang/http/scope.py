"""What an ASGI scope says of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Key of a scope that holds the short name of the request's API key.
_OWNER = "agentrt_owner"


def path_of(scope: Scope) -> str:
    """The path that routes are matched with: without the root path of a proxy."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers, names in lower case; of several with one name the first."""
    pairs = reversed(scope["headers"])
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}


def with_headers(scope: Scope, **replaced: str | None) -> Scope:
    """A copy whose headers of those names have other values, or none at all (None).

    Args:
        replaced: name → value, `_` for `-`.
    """
    new = {name.replace("_", "-").encode(): value for name, value in replaced.items()}
    kept = [(name, value) for name, value in scope["headers"] if name.lower() not in new]
    added = [(name, value.encode()) for name, value in new.items() if value is not None]
    return {**scope, "headers": kept + added}


def owner_of(scope: Scope) -> str:
    """Short name of the key the request came with, "" without keys."""
    owner: str = scope.get(_OWNER, "")
    return owner


def with_owner(scope: Scope, owner: str) -> Scope:
    """A copy that belongs to a key."""
    return {**scope, _OWNER: owner}
