"""The pytest plug-in: fixtures for tests of agents, and no network where they are used.

Loaded by pytest where agentrt is installed, so it imports agentrt only in tests that use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from agentrt.testing import ScriptedModel

_OPTION = "agentrt_block_network"
_MARKER = "network(loopback=False): the test may open connections; loopback=True: to this machine"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest."""
    parser.addini(_OPTION, "block the network in every test, not only in those of agents", "bool")


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture(autouse=True)
def _no_network_if_asked(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.config.getini(_OPTION):
        request.getfixturevalue("no_network")
    yield


@pytest.fixture
def no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Opening a connection fails, unless the test is marked `network`."""
    from agentrt.testing import blocked_network

    marker = request.node.get_closest_marker("network")
    loopback = bool(marker and marker.kwargs.get("loopback"))
    if marker is not None and not loopback:
        yield
        return
    with blocked_network(loopback=loopback):
        yield


@pytest.fixture
def scripted_model(no_network: None) -> Iterator[ScriptedModel]:
    """A model whose `will(…)` says what it replies; the test fails if a step was not used."""
    from agentrt.testing import ScriptedModel

    model = ScriptedModel()
    yield model
    model.check()
