"""TCP ports of engines."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

from agentrt_engine.errors import PortInUse

#: Where free ports are looked for. SGLang's own rendezvous port is one of 22,000 to 29,999.
_PORTS = range(10_000, 22_000)
_TRIES = 64

#: The kernel's first ephemeral port: one it gives to a socket that asks for any.
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_EPHEMERAL = 32_768

_HINT = "choose another with --port, or stop what listens there"


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on, nor soon will by chance.

    An engine binds its port long after it was chosen. Meanwhile its own scheduler opens a dozen
    listening sockets on ephemeral ports, so this one lies below them where there is room.
    """
    for port in random.sample(_PORTS, _TRIES) if _PORTS.stop <= _first_ephemeral() else ():
        with suppress(PortInUse):
            require_free_port("127.0.0.1", port)
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        any_port: int = probe.getsockname()[1]
        return any_port


def require_free_port(host: str, port: int) -> None:
    """Raise `PortInUse` where one cannot listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(
                f"cannot listen on {host}:{port}: {error.strerror}", hint=_HINT
            ) from error


def lost_port(host: str, port: int) -> PortInUse:
    """The error of an engine whose port was taken while it started."""
    return PortInUse(
        f"cannot listen on {host}:{port}: taken by another process during the start", hint=_HINT
    )


def _first_ephemeral() -> int:
    try:
        return int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_EPHEMERAL
