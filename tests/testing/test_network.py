"""What is blocked, and what is not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import getaddrinfo, gethostbyname

import anyio
import httpx2
import pytest

from agentrt.testing import NetworkBlocked, blocked_network

#: An address that nobody has (RFC 5737).
NOBODY = "192.0.2.1"


def reach(host: str, port: int = 9) -> None:
    with socket.socket() as used:
        used.settimeout(1)
        used.connect((host, port))


def reach_with_a_code(host: str, port: int = 9) -> None:
    with socket.socket() as used:
        used.settimeout(1)
        used.connect_ex((host, port))


def send(host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used:
        used.sendto(b"x", (host, 9))


def get(host: str) -> None:
    httpx2.get(f"http://{host}:9/", trust_env=False)


def reach_asynchronously(host: str) -> None:
    asyncio.run(_open(host))


async def _open(host: str) -> None:
    await asyncio.open_connection(host, 9)


def look_up(host: str) -> None:
    getaddrinfo(host, 9)


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    """Address of something that listens on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


@pytest.mark.parametrize("use", [reach, reach_with_a_code, send, reach_asynchronously])
def test_no_address_is_reached_and_the_error_names_it(use: Callable[[str], None]) -> None:
    with blocked_network(), pytest.raises(NetworkBlocked, match=rf"would reach {NOBODY} port 9"):
        use(NOBODY)


@pytest.mark.parametrize("use", [look_up, get, reach_asynchronously])
def test_no_name_is_looked_up_not_even_by_functions_imported_before(
    use: Callable[[str], None],
) -> None:
    with blocked_network(), pytest.raises(NetworkBlocked, match=r"reach agentrt\.invalid port 9"):
        use("agentrt.invalid")
    with blocked_network(), pytest.raises(NetworkBlocked, match=r"reach agentrt\.invalid$"):
        gethostbyname("agentrt.invalid")


def test_this_machine_is_blocked_unless_it_is_allowed(server: tuple[str, int]) -> None:
    with blocked_network(), pytest.raises(NetworkBlocked, match=r"127\.0\.0\.1 port"):
        reach(*server)
    with blocked_network(loopback=True):
        reach(*server)
        look_up("localhost")
        with pytest.raises(NetworkBlocked):
            reach(NOBODY)


def test_afterwards_nothing_is_blocked(server: tuple[str, int]) -> None:
    with blocked_network(), blocked_network(loopback=True):
        pass
    reach(*server)


def test_what_is_no_network_works(tmp_path: Path) -> None:
    async def main() -> None:
        one, other = socket.socketpair()
        with one, other:
            one.send(b"x")
            assert other.recv(1) == b"x"
        listener = await anyio.create_unix_listener(tmp_path / "socket")
        async with listener, await anyio.connect_unix(tmp_path / "socket") as stream:
            await stream.send(b"x")
        assert (await anyio.run_process(["true"])).returncode == 0
        for host in (None, "127.0.0.1"):
            (await asyncio.start_server(lambda _reader, _writer: None, host, 0)).close()

    with blocked_network():
        anyio.run(main)
