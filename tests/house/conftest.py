"""The light environment, made once for the tests that need one."""

from __future__ import annotations

import pytest

from tests.support.light_environment import LightEnvironment, make_light_environment


@pytest.fixture(scope="package")
def light(tmp_path_factory: pytest.TempPathFactory) -> LightEnvironment:
    """The built wheel in an otherwise empty environment."""
    return make_light_environment(tmp_path_factory.mktemp("light"))


@pytest.fixture(scope="package")
def light_for_developers(tmp_path_factory: pytest.TempPathFactory) -> LightEnvironment:
    """The same with the tools that check and test."""
    return make_light_environment(tmp_path_factory.mktemp("light-dev"), extra="dev")
