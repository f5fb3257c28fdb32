"""Recipes: instances that are made when they are needed, from two versions of a project."""

from __future__ import annotations

import re

import msgspec

from agentrt_tools.swebench.instance import Instance, Local, evaluation_script
from agentrt_tools.swebench.repository import Files, Repository

#: Of pytest, with no option of the project's own.
_TEST_COMMAND = "python -m pytest -rA -p no:cacheprovider -o addopts= -W ignore"

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][\w.+!]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Tree(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """All files of one version: those of a source distribution, or given here.

    Attributes:
        sdist: name of the project on the package index.
        version: of it.
        sha256: of the archive.
        files: path → text, where there is no distribution.
    """

    sdist: str = ""
    version: str = ""
    sha256: str = ""
    files: dict[str, str] = {}

    def __post_init__(self) -> None:
        if bool(self.files) == bool(self.sdist and self.version and self.sha256):
            raise ValueError("expected either sdist, version and sha256, or files")
        if self.sdist and not (
            _NAME.fullmatch(self.sdist)
            and _VERSION.fullmatch(self.version)
            and _SHA256.fullmatch(self.sha256)
        ):
            raise ValueError("sdist, version or sha256 cannot be those of a source distribution")


class Recipe(
    msgspec.Struct,
    kw_only=True,
    frozen=True,
    forbid_unknown_fields=True,
    rename={
        "old": "before",
        "new": "after",
        "fail_to_pass": "FAIL_TO_PASS",
        "pass_to_pass": "PASS_TO_PASS",
    },
):
    """An instance whose patches are what two versions differ in.

    Attributes:
        old: the version that has the issue.
        new: the one that has not; files that are given here replace those of the old one.
        sources: paths whose differences are the solution.
        tests: paths whose differences are the test patch.
        requirements: of the tests, for pip.
        python_path: folders from which the packages are imported.
        test_files: that are run.
    """

    instance_id: str
    repo: str
    problem_statement: str
    old: Tree
    new: Tree
    sources: tuple[str, ...]
    tests: tuple[str, ...]
    requirements: tuple[str, ...]
    test_files: tuple[str, ...]
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    version: str = ""
    python_path: tuple[str, ...] = ()

    @property
    def entry_id(self) -> str:
        """As results name it."""
        return self.instance_id

    @property
    def after(self) -> tuple[str, ...]:
        """No instance waits for another one."""
        return ()

    async def make(self, repository: Repository, old: Files, new: Files) -> Instance:
        """The instance, with its base commit in an empty repository.

        Raises:
            RepositoryError: git cannot do it.
        """
        commit = await repository.commit(old)
        test_patch = await repository.difference(new, self.tests)
        patch = await repository.difference(new, self.sources)
        await repository.hand_over()
        command = " ".join([_TEST_COMMAND, *self.test_files])
        return Instance(
            instance_id=self.instance_id,
            repo=self.repo,
            version=self.version,
            base_commit=commit,
            problem_statement=self.problem_statement,
            patch=patch,
            test_patch=test_patch,
            fail_to_pass=self.fail_to_pass,
            pass_to_pass=self.pass_to_pass,
            eval_script=evaluation_script(commit, test_patch, self.tests, command),
            local=Local(
                requirements=self.requirements,
                test_command=command,
                test_paths=self.tests,
                python_path=self.python_path,
            ),
        )
