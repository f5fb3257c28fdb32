"""Instances in the form of SWE-bench, as swebench 5 publishes them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

#: Where the images of SWE-bench have the repository.
CONTAINER_WORKDIR = "/testbed"

#: A package of an index, in one version.
_PINNED = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?==[\w.+!]+", re.ASCII)

_COMMIT = re.compile(r"[0-9a-f]{7,64}")

_IMAGE = re.compile(r"|[A-Za-z0-9][\w./:@-]*", re.ASCII)

_TEST_LISTS = ("FAIL_TO_PASS", "PASS_TO_PASS")


class Local(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How to work on an instance without its image.

    Attributes:
        requirements: of the tests, for pip.
        test_command: runs them, in the checkout.
        test_paths: what the test patch changes.
        python_path: folders of the checkout from which its packages are imported.
        git: where the repository is cloned from; empty if its files come from elsewhere.
    """

    requirements: tuple[str, ...]
    test_command: str
    test_paths: tuple[str, ...]
    python_path: tuple[str, ...] = ()
    git: str = ""

    def __post_init__(self) -> None:
        if not self.test_paths:
            raise ValueError("test_paths is empty, expected what the test patch changes")
        for each in self.requirements:
            if not _PINNED.fullmatch(each):
                raise ValueError(f"requirement {each!r}, expected NAME==VERSION")


class Instance(
    msgspec.Struct,
    kw_only=True,
    frozen=True,
    rename={"fail_to_pass": "FAIL_TO_PASS", "pass_to_pass": "PASS_TO_PASS"},
):
    """An issue of a repository, its solution, and the tests that tell.

    Attributes:
        base_commit: that the issue is about.
        patch: the solution ("gold").
        test_patch: brings the tests.
        fail_to_pass: tests that the solution mends.
        pass_to_pass: tests that it must not break.
        image: with the repository and all it needs, for docker.
        eval_script: brings the tests and runs them, in the image.
        log_parser: of swebench, reads what the tests print.
        eval_type: of swebench: whether only failures are told.
        image_assets: files that no patch can carry; not supported.
        local: without the image; None if that cannot be.
    """

    instance_id: str
    repo: str
    base_commit: str
    problem_statement: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    patch: str = ""
    test_patch: str = ""
    version: str = ""
    image: str = ""
    eval_script: str = ""
    log_parser: str = "parse_log_pytest"
    eval_type: Literal["pass_and_fail", "fail_only"] = "pass_and_fail"
    image_assets: Any = None
    local: Local | None = None

    @property
    def entry_id(self) -> str:
        """As results name it."""
        return self.instance_id

    @property
    def after(self) -> tuple[str, ...]:
        """No instance waits for another one."""
        return ()


def as_instance(row: Mapping[str, Any]) -> Instance:
    """A row of a data set, whose lists of tests may be JSON in a string.

    Raises:
        ValueError: a field is missing or has another type.
    """
    read = {
        name: json.loads(row[name]) if isinstance(row[name], str) else row[name]
        for name in _TEST_LISTS
        if name in row
    }
    known = {field.encode_name for field in msgspec.structs.fields(Instance)}
    given = {name: value for name, value in row.items() if name in known and value is not None}
    instance = msgspec.convert({**given, **read}, type=Instance)
    if not _COMMIT.fullmatch(instance.base_commit):
        raise ValueError(f"base_commit is {instance.base_commit!r}, expected a hash")
    if not _IMAGE.fullmatch(instance.image):
        raise ValueError(f"image is {instance.image!r}, expected the name of one")
    if instance.local is not None and not instance.local.git:
        raise ValueError("local.git is empty, expected where the repository is cloned from")
    return instance


def evaluation_script(
    base_commit: str, test_patch: str, test_paths: tuple[str, ...], test_command: str
) -> str:
    """What swebench's own scripts do, in the working directory: tests brought, run, put back."""
    paths = " ".join(map(shlex.quote, test_paths))
    put_back = (
        f"git reset --quiet; git clean -fdxq -- {paths}; "
        f'for path in {paths}; do git checkout --quiet {base_commit} -- "$path"; done'
    )
    return "\n".join(
        [
            "#!/bin/bash",
            "set -uxo pipefail",
            put_back,
            "git apply -v - <<'EOF_114329324912'",
            test_patch.removesuffix("\n"),
            "EOF_114329324912",
            ": '>>>>> Start Test Output'",
            test_command,
            ": '>>>>> End Test Output'",
            put_back,
            "",
        ]
    )
