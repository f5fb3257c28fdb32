"""Ports for engines: free ones, and not those that others get by chance."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from agentrt_engine.errors import PortInUse
from agentrt_engine.sglang import ports
from agentrt_engine.sglang.ports import free_port, require_free_port


def test_a_free_port_is_none_that_the_kernel_gives_away() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port < first for port in (free_port() for _ in range(20)))


def test_ports_that_are_taken_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        taken = free_port()
        other.bind(("127.0.0.1", taken))
        other.listen()
        with pytest.raises(PortInUse, match=f"cannot listen on 127.0.0.1:{taken}: Address already"):
            require_free_port("127.0.0.1", taken)
        monkeypatch.setattr(random, "sample", lambda _ports, _tries: [taken, taken + 1])
        assert free_port() == taken + 1


@pytest.mark.parametrize("content", ["1024\t60999\n", None])
def test_without_room_below_those_any_free_one_will_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ip_local_port_range"
    monkeypatch.setattr(ports, "_EPHEMERAL", file)
    if content is not None:
        file.write_text(content)
        monkeypatch.setattr(random, "sample", None)  # not asked
    require_free_port("127.0.0.1", free_port())
