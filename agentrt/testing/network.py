"""No network in tests: whoever uses it is told so, with the address."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agentrt_engine.loopback import is_loopback

_INTERNET = (socket.AF_INET, socket.AF_INET6)

#: Whether this machine may be reached, for each block that is open, the innermost last.
_blocks: list[bool] = []
_hooked = False


class NetworkBlocked(BaseException):
    """A test used the network. No `Exception`, so that no tool's failure hides it."""


@contextmanager
def blocked_network(*, loopback: bool = False) -> Iterator[None]:
    """In the block nothing can be connected or sent to, and no name looked up.

    Sockets between processes of this machine that are no IP sockets work, and so does listening.
    Child processes and event loops that are not written in Python or CPython's C are not held back.

    Args:
        loopback: this machine can be reached as well.

    Raises:
        NetworkBlocked: where the network is used.
    """
    global _hooked
    if not _hooked:
        # Python tells its hooks of every use, also of functions that were imported long ago. A
        # hook cannot be removed; outside of blocks it does nothing.
        sys.addaudithook(_on_event)
        _hooked = True
    _blocks.append(loopback)
    try:
        yield
    finally:
        _blocks.pop()


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if not _blocks or not event.startswith("socket."):
        return
    match event, arguments:
        case (("socket.connect" | "socket.sendto" | "socket.sendmsg"), (used, address, *_)):
            # A connected socket sends without an address: its connection was looked at.
            if address is not None and used.family in _INTERNET:
                _check(str(address[0]), address[1])
        case "socket.getaddrinfo", (host, port, *_):
            name = host.decode() if isinstance(host, bytes) else host
            # An address needs no look-up, and without a name it is that of a server.
            if name and not _is_address(name):
                _check(name, port)
        case (("socket.gethostbyname" | "socket.gethostbyaddr"), (host, *_)):
            _check(str(host), None)


def _check(host: str, port: Any) -> None:
    if _blocks[-1] and is_loopback(host):
        return
    place = f"{host} port {port}" if port else host
    raise NetworkBlocked(f"the network is blocked, but something would reach {place}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
