"""The pytest plug-in: fixtures for tests of agents, and no network where they are used.

Loaded by pytest where agentrt is installed, so it imports agentrt only in tests that use it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from agentrt.testing import ScriptedModel

_OPTION = "agentrt_block_network"
_MARKER = "network(loopback=False): the test may open connections; loopback=True: to this machine"
_MODEL: pytest.StashKey[ScriptedModel] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest."""
    parser.addini(_OPTION, "block the network in every test, not only in those of agents", "bool")


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest."""
    config.addinivalue_line("markers", _MARKER)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Called by pytest."""
    if isinstance(item, pytest.Function) and item.config.getini(_OPTION):
        item.fixturenames.insert(0, "no_network")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Called by pytest. A script that was not followed fails the test, if nothing else did."""
    outcome = yield
    if (model := item.stash.get(_MODEL, None)) is not None:
        model.check()
    return outcome


@pytest.fixture
def no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Using the network fails, unless the test is marked `network`."""
    from agentrt.testing import blocked_network

    marker = request.node.get_closest_marker("network")
    loopback = bool(marker and marker.kwargs.get("loopback"))
    if marker is not None and not loopback:
        yield
        return
    with blocked_network(loopback=loopback):
        yield


@pytest.fixture
def scripted_model(request: pytest.FixtureRequest, no_network: None) -> ScriptedModel:
    """A model whose `will(…)` says what it replies; the test fails if a step was not used."""
    from agentrt.testing import ScriptedModel

    request.node.stash[_MODEL] = model = ScriptedModel()
    return model
