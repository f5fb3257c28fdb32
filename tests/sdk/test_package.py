"""The package as a whole: what it exports, what it loads, where it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import agentrt
from agentrt import errors
from agentrt.python_version import require_supported_python


@pytest.mark.parametrize("version", [(3, 11), (3, 12)])
def test_supported_versions_of_python(version: tuple[int, int]) -> None:
    require_supported_python(version)


@pytest.mark.parametrize("version", [(2, 7), (3, 10), (3, 13), (4, 11)])
def test_other_versions_of_python_are_refused(version: tuple[int, int]) -> None:
    found = f"{version[0]}.{version[1]}"
    with pytest.raises(
        errors.UnsupportedPython, match=rf"needs Python 3\.11 or 3\.12, but this is .* {found}\."
    ):
        require_supported_python(version)


def test_importing_the_sdk_loads_no_heavy_package() -> None:
    script = """
import sys

class Blocker:
    blocked = ("torch", "sglang", "transformers", "starlette", "uvicorn", "rich", "cyclopts")

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.blocked:
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Blocker())
import agentrt
import agentrt_tools
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("module", [agentrt, errors], ids=lambda module: module.__name__)
def test_every_export_exists_and_is_documented(module: object) -> None:
    names: list[str] = module.__all__  # type: ignore[attr-defined]
    assert names == sorted(names)
    for name in names:
        exported = getattr(module, name)
        assert exported.__doc__, name
