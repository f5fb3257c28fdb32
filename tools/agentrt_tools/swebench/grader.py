"""swebench's own graders, on the log of tests that ran anywhere."""

from __future__ import annotations

import importlib.util
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrt_tools.swebench.instance import Instance

_PACKAGE = "swebench.harness"


@dataclass(frozen=True, slots=True)
class Grade:
    """What the graders say.

    Attributes:
        resolved: all tests are as they have to be.
        ran: the log shows that tests ran.
        mended: how many of FAIL_TO_PASS pass.
        kept: how many of PASS_TO_PASS pass.
        report: all of it, as swebench writes it.
    """

    resolved: bool
    ran: bool
    mended: int
    kept: int
    report: dict[str, Any]


def grade(instance: Instance, patch: str, log: Path) -> Grade:
    """Grade a log of the instance's evaluation script."""
    _without_clients()
    from swebench.harness.grading import get_eval_report
    from swebench.types import TestSpec

    spec = TestSpec(
        instance_id=instance.instance_id,
        image=instance.image,
        eval_script_list=[],
        repo=instance.repo,
        version=instance.version,
        FAIL_TO_PASS=list(instance.fail_to_pass),
        PASS_TO_PASS=list(instance.pass_to_pass),
        log_parser=instance.log_parser,
        eval_type=instance.eval_type,
    )
    prediction = {
        "instance_id": instance.instance_id,
        "model_patch": patch,
        "model_name_or_path": "",
    }
    report = get_eval_report(spec, prediction, str(log), True)[instance.instance_id]
    status = report.get("tests_status", {})
    return Grade(
        resolved=report["resolved"],
        ran=report["patch_successfully_applied"],
        mended=len(status.get("FAIL_TO_PASS", {}).get("success", ())),
        kept=len(status.get("PASS_TO_PASS", {}).get("success", ())),
        report=report,
    )


def log_parsers() -> frozenset[str]:
    """Names of what reads the logs of tests."""
    _without_clients()
    from swebench.harness.log_parsers import PARSER_REGISTRY

    return frozenset(PARSER_REGISTRY)


def _without_clients() -> None:
    """Make `swebench.harness` a package whose modules are imported one by one.

    As it is, it imports clients of Docker, of Modal and of data sets; the graders need none.
    """
    if _PACKAGE not in sys.modules:
        spec = importlib.util.find_spec("swebench")
        assert spec is not None and spec.origin is not None
        package = types.ModuleType(_PACKAGE)
        package.__path__ = [str(Path(spec.origin).parent / "harness")]
        sys.modules[_PACKAGE] = package
