"""Where engines are, as users write it: `URL` or `NAME=URL`, and their keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import httpx2

from agentrt.errors import SettingError

_NAMED = re.compile(r"(?P<name>[^=/:]+)=(?P<url>https?://.*)")


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """An engine to connect to.

    Attributes:
        url: where it listens, without `/v1` and without user or password.
        name: of its column; None: what the engine says of itself.
        key: sent as a bearer token.
    """

    url: str
    name: str | None = None
    key: str | None = field(default=None, repr=False)


def parse_addresses(texts: Sequence[str], keys: Sequence[str]) -> list[EngineAddress]:
    """The engines of `--engine` with the keys of `--engine-key`.

    Args:
        texts: each `URL` or `NAME=URL`.
        keys: each `NAME=KEY`, where the name is that of an engine, or a key for all the others.

    Raises:
        SettingError: a text is no URL, or a name is there twice.
    """
    addresses = [_parse(text) for text in texts]
    names = [address.name for address in addresses if address.name is not None]
    for name in names:
        if names.count(name) > 1:
            raise SettingError(
                f"--engine {name}=…: two engines have this name", hint="give each its own"
            )
    own: dict[str, str] = {}
    common = None
    for key in keys:
        name, equals, rest = key.partition("=")
        # Keys may contain an equals sign themselves.
        if equals and name in names:
            own[name] = rest
        else:
            common = key
    return [replace(address, key=own.get(address.name or "", common)) for address in addresses]


def host_and_port(url: str) -> str:
    """What tells two engines of one kind apart."""
    return httpx2.URL(url).netloc.decode("ascii")


def _parse(text: str) -> EngineAddress:
    named = _NAMED.fullmatch(text.strip())
    url = named["url"] if named else text.strip()
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise SettingError(
            f"--engine {text}: expected the URL of an engine, or NAME=URL",
            hint="e.g. --engine http://127.0.0.1:30000 --engine stock=http://127.0.0.1:30001",
        )
    if parsed.userinfo:
        raise SettingError(
            f"--engine {parsed.copy_with(userinfo=b'')}: a user or password in a URL ends up in "
            "results",
            hint="give the key with --engine-key or AGENTRT_API_KEY",
        )
    base = str(parsed).rstrip("/").removesuffix("/v1").rstrip("/")
    return EngineAddress(base, named["name"].strip() if named else None)
