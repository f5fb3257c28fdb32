"""The tool `http`: requests to hosts of a list."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import anyio
import httpx2
from pydantic import Field

from agentrt import Tool, tool
from agentrt.errors import DefinitionError

MAX_REDIRECTS = 5
MAX_BODY_CHARACTERS = 20_000

#: Bytes of an answer that are read, and characters of it that are shown.
MAX_BYTES = 2 * 2**20
SHOWN_CHARACTERS = 3_600

_TIMEOUT_S = 30.0
_PORTS = {"http": 80, "https": 443}


class HostNotAllowed(Exception):
    """A URL leads to a host that is not on the list, or to an address of this network."""


def http_tool(
    *,
    allow: Sequence[str],
    post: bool = False,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> Tool:
    """A tool that sends requests to some hosts and to no others, redirects included.

    Args:
        allow: names of hosts, `*.example.com` for all below one, `host:port` for one port. A host
            of this machine or of a private network has to be listed with its port.
        post: whether the model may send something, too.
        transport: what carries requests instead of the network.

    Raises:
        DefinitionError: the list is empty, or an entry is no host.
    """
    hosts = [_host(entry) for entry in allow]
    if not hosts:
        raise DefinitionError("http_tool(allow=[]): expected the hosts that it may reach")
    client = _Client(hosts, transport)
    if not post:

        @tool(timeout=_TIMEOUT_S)
        async def http(url: str) -> str:
            """Fetch a URL and return the answer.

            Args:
                url: with http:// or https://.
            """
            return await client.request("GET", url)

        return http

    @tool(name="http", timeout=_TIMEOUT_S, effect="write")
    async def http_post(
        url: str, body: Annotated[str, Field(max_length=MAX_BODY_CHARACTERS)] = ""
    ) -> str:
        """Fetch a URL, or send something to it, and return the answer.

        Args:
            url: with http:// or https://.
            body: JSON to be sent with POST; empty for GET.
        """
        return await client.request("POST" if body else "GET", url, body)

    return http_post


@dataclass(frozen=True, slots=True)
class _Host:
    """An entry of the list; `below` for all hosts below a name."""

    name: str
    port: int | None
    below: bool

    def fits(self, url: httpx2.URL) -> bool:
        host = url.host.lower().rstrip(".")
        named = host.endswith(f".{self.name}") if self.below else host == self.name
        return named and self.port in (None, _port(url))


class _Client:
    def __init__(self, hosts: list[_Host], transport: httpx2.AsyncBaseTransport | None) -> None:
        self._hosts = hosts
        self._transport = transport

    async def request(self, method: str, url: str, body: str = "") -> str:
        """The answer as text, after all redirects."""
        async with httpx2.AsyncClient(
            transport=self._transport, timeout=_TIMEOUT_S, trust_env=False
        ) as client:
            for _ in range(MAX_REDIRECTS + 1):
                target = httpx2.URL(url)
                await self._check(target)
                headers = {"content-type": "application/json"} if body else {}
                async with client.stream(
                    method, target, content=body or None, headers=headers
                ) as response:
                    if not response.has_redirect_location:
                        return await _shown(response)
                    url = str(target.join(response.headers["location"]))
                    if response.status_code in (301, 302, 303):
                        method, body = "GET", ""
        raise ValueError(f"more than {MAX_REDIRECTS} redirects")

    async def _check(self, url: httpx2.URL) -> None:
        if url.scheme not in _PORTS or not url.host:
            raise ValueError(f"{str(url)!r} is no URL that begins with http:// or https://")
        fitting = [host for host in self._hosts if host.fits(url)]
        if not fitting:
            names = ", ".join(_name(host) for host in self._hosts)
            raise HostNotAllowed(f"{url.host} is not one of the hosts that may be reached: {names}")
        if any(host.port is not None for host in fitting) or self._transport is not None:
            return
        found = await anyio.getaddrinfo(url.host, _port(url), type=socket.SOCK_STREAM)
        for address in {str(each[-1][0]).partition("%")[0] for each in found}:
            if not ipaddress.ip_address(address).is_global:
                raise HostNotAllowed(f"{url.host} is {address}, an address of this network")


def _host(entry: str) -> _Host:
    name, colon, port = entry.lower().partition(":")
    below = name.startswith("*.")
    name = name.removeprefix("*.").rstrip(".")
    if not name or set(name) & set("/*@ ") or (colon and not port.isdecimal()):
        raise DefinitionError(
            f"http_tool(allow=[…, {entry!r}]): expected a host such as example.com, "
            "*.example.com or localhost:8000"
        )
    return _Host(name, int(port) if colon else None, below)


def _name(host: _Host) -> str:
    return f"{'*.' if host.below else ''}{host.name}{'' if host.port is None else f':{host.port}'}"


def _port(url: httpx2.URL) -> int:
    return url.port or _PORTS.get(url.scheme, 0)


async def _shown(response: httpx2.Response) -> str:
    """Status, kind and the beginning of the text."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_BYTES:
            break
    kind = response.headers.get("content-type", "unknown")
    head = f"HTTP {response.status_code}, {kind}"
    if b"\0" in content[:1024]:
        return f"{head}\n[{len(content):,} bytes that are no text]"
    text = content[:MAX_BYTES].decode(response.encoding or "utf-8", errors="replace")
    if len(text) <= SHOWN_CHARACTERS:
        return f"{head}\n{text}"
    more = " or more" if len(content) > MAX_BYTES else ""
    note = f"[cut: {SHOWN_CHARACTERS:,} of {len(text):,}{more} characters shown]"
    return f"{head}\n{text[:SHOWN_CHARACTERS]}\n{note}"
