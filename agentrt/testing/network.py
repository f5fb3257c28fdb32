"""No network in tests: whoever opens a connection is told so, with the address."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock


class NetworkBlocked(BaseException):
    """A test opened a connection. No `Exception`, so that no tool's failure hides it."""


@contextmanager
def blocked_network(*, loopback: bool = False) -> Iterator[None]:
    """In the block no connection can be opened, and no name looked up.

    Sockets between processes of this machine that are no IP sockets work.

    Args:
        loopback: connections to this machine work as well.

    Raises:
        NetworkBlocked: where a connection is opened.
    """
    connect, connect_ex, getaddrinfo = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def check(one: socket.socket, address: Any) -> None:
        if one.family in (socket.AF_INET, socket.AF_INET6) and not (
            loopback and _is_loopback(address[0])
        ):
            raise NetworkBlocked(f"the network is blocked: a connection to {address} was opened")

    def checked_connect(one: socket.socket, address: Any) -> None:
        check(one, address)
        connect(one, address)

    def checked_connect_ex(one: socket.socket, address: Any) -> int:
        check(one, address)
        return connect_ex(one, address)

    def checked_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not (loopback and _is_loopback(host)):
            raise NetworkBlocked(f"the network is blocked: the address of {host} was looked up")
        return getaddrinfo(host, *args, **kwargs)

    with (
        mock.patch.object(socket.socket, "connect", checked_connect),
        mock.patch.object(socket.socket, "connect_ex", checked_connect_ex),
        mock.patch.object(socket, "getaddrinfo", checked_getaddrinfo),
    ):
        yield


def _is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host)
    return name in ("localhost", "::1") or name.startswith("127.")
