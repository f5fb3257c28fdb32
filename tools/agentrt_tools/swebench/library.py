"""Instances with their checkouts: made when they are first needed, kept for one run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from agentrt_tools.swebench.container import container
from agentrt_tools.swebench.instance import Instance, evaluation_script
from agentrt_tools.swebench.local_place import local_place
from agentrt_tools.swebench.place import Place
from agentrt_tools.swebench.python_environment import python_environment
from agentrt_tools.swebench.recipe import Recipe, Tree
from agentrt_tools.swebench.repository import Files, Repository
from agentrt_tools.swebench.sdist import fetch_sdist

Task = Instance | Recipe


class EnvironmentKind(StrEnum):
    """`--environment`: where commands and tests run."""

    AUTO = "auto"
    LOCAL = "local"
    DOCKER = "docker"
    PODMAN = "podman"


@dataclass(frozen=True, slots=True)
class Prepared:
    """An instance that can be worked on.

    Attributes:
        repository: at its base; None if only the image has it.
    """

    instance: Instance
    repository: Repository | None


class Library:
    """Prepares instances, each once; an async context manager.

    Args:
        environment: where commands run; auto is the sandbox for instances that can do without
            their image, else docker.
    """

    def __init__(self, environment: EnvironmentKind = EnvironmentKind.AUTO) -> None:
        self._environment = environment
        self._prepared: dict[str, Prepared] = {}
        self._locks: dict[str, anyio.Lock] = {}
        self._building = anyio.Lock()
        self._kept = tempfile.TemporaryDirectory(prefix="agentrt-", ignore_cleanup_errors=True)
        self._folder = Path(self._kept.name).resolve()

    async def __aenter__(self) -> Library:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await anyio.to_thread.run_sync(self._kept.cleanup)

    async def prepare(self, task: Task) -> Prepared:
        """Fetch and build what an instance takes.

        Raises:
            RepositoryError: something cannot be had.
        """
        name = task.instance_id
        async with self._locks.setdefault(name, anyio.Lock()):
            if name not in self._prepared:
                folder = self._folder / name
                self._prepared[name] = await self._prepare(task, folder)
        return self._prepared[name]

    @asynccontextmanager
    async def place(self, prepared: Prepared, *, network: bool = False) -> AsyncIterator[Place]:
        """A fresh checkout.

        Args:
            network: that of a container; a checkout of this machine has none.

        Raises:
            RepositoryError: it cannot be made.
        """
        instance, repository = prepared.instance, prepared.repository
        if repository is None or instance.local is None:
            client = "podman" if self._environment is EnvironmentKind.PODMAN else "docker"
            async with container(client, image_of(instance), network=network) as found:
                yield found
        else:
            # Those that wait for one another do so here, not in threads that others need.
            async with self._building:
                python = await python_environment(instance.local.requirements)
            async with local_place(repository, instance.local, python) as found:
                yield found

    async def _prepare(self, task: Task, folder: Path) -> Prepared:
        await anyio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))
        repository = Repository(folder)
        if isinstance(task, Recipe):
            old, new = await _files(task.old), await _files(task.new)
            if task.new.files:
                new = {**old, **new}
            return Prepared(await task.make(repository, old, new), repository)
        if self._in_container(task):
            return Prepared(task, None)
        assert task.local is not None
        await repository.clone(task.local.git, task.base_commit)
        await repository.hand_over()
        script = evaluation_script(
            task.base_commit, task.test_patch, task.local.test_paths, task.local.test_command
        )
        return Prepared(msgspec.structs.replace(task, eval_script=script), repository)

    def _in_container(self, task: Instance) -> bool:
        if self._environment is EnvironmentKind.AUTO:
            return task.local is None
        return self._environment is not EnvironmentKind.LOCAL


def cannot_be_run(task: Task, environment: EnvironmentKind) -> str:
    """Why an instance cannot be worked on in an environment; empty if it can."""
    if environment in (EnvironmentKind.DOCKER, EnvironmentKind.PODMAN):
        if isinstance(task, Recipe):
            return "has no image"
    elif isinstance(task, Instance) and task.local is None:
        if environment is EnvironmentKind.LOCAL:
            return "has no section local, which says how to do without its image"
    else:
        return ""
    if isinstance(task, Instance) and not task.eval_script:
        return "has no eval_script, expected a data set in the form of swebench 5"
    if isinstance(task, Instance) and task.image_assets:
        return "has image_assets, which nothing brings into its checkout"
    return ""


def image_of(instance: Instance) -> str:
    """The image of an instance: its own, or where SWE-bench puts it."""
    name = instance.instance_id.replace("__", "_1776_").lower()
    return instance.image or f"swebench/sweb.eval.x86_64.{name}:latest"


async def _files(tree: Tree) -> Files:
    if tree.files:
        return {path: text.encode() for path, text in tree.files.items()}
    return await fetch_sdist(tree.sdist, tree.version, tree.sha256)
