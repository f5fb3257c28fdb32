"""Instances in containers, where a stand-in does what docker and podman are told to."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import anyio
import pytest

from agentrt.testing import ScriptedModel
from agentrt_tools.swebench.child import RepositoryError
from agentrt_tools.swebench.container import container
from agentrt_tools.swebench.data_set import load_tasks
from agentrt_tools.swebench.instance import evaluation_script
from agentrt_tools.swebench.library import EnvironmentKind, Library, Task, image_of
from agentrt_tools.swebench.recipe import Recipe
from agentrt_tools.swebench.repository import Repository
from tests.bench.adder import COLLECT, HAND_IN, SOLUTION, adder, does, worked_on, written
from tests.support import fake_docker


@pytest.fixture(params=["docker", "podman"])
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    programs = fake_docker.install(tmp_path / "engine", name)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("FAKE_DOCKER", str(tmp_path / "engine"))
    return name


def in_its_image(folder: Path) -> Task:
    """The adder as a row of a data set, and its image."""
    recipe = adder(folder)
    assert isinstance(recipe, Recipe)
    repository = Repository(folder / "engine/images/agentrt_adder:1")
    files = {path: text.encode() for path, text in recipe.old.files.items()}
    new = {path: text.encode() for path, text in recipe.new.files.items()}
    instance = anyio.run(recipe.make, repository, files, new)
    script = evaluation_script(
        instance.base_commit,
        instance.test_patch,
        ("tests",),
        "cd /testbed && python -m pytest -rA -p no:agentrt -p no:cacheprovider tests",
    )
    row = {
        "instance_id": recipe.instance_id,
        "repo": recipe.repo,
        "base_commit": instance.base_commit,
        "problem_statement": recipe.problem_statement,
        "FAIL_TO_PASS": list(recipe.fail_to_pass),
        "PASS_TO_PASS": list(recipe.pass_to_pass),
        "image": "agentrt/adder:1",
        "eval_script": script,
        "patch": instance.patch,
        "test_patch": instance.test_patch,
    }
    [task] = load_tasks(str(written(folder / "rows.jsonl", row)), "test")
    return task


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "engine/calls").read_text().splitlines()]


def test_an_instance_in_its_image(client: str, tmp_path: Path) -> None:
    task = in_its_image(tmp_path)
    kind = EnvironmentKind(client)
    steps = [does("pwd; echo kept > /tmp/note"), does("cat /tmp/note"), does(SOLUTION)]
    with ScriptedModel([*steps, does(COLLECT), does(HAND_IN)]) as model:
        result = worked_on(task, model, tmp_path / "out", library=Library(kind))
        seen = [request.messages[-1]["content"] for request in model.requests[1:3]]
    assert "\n/testbed\n" in seen[0]
    assert "\nkept\n" in seen[1]
    assert (result.valid, result.message) == (True, "")

    made = calls(tmp_path)
    for_agent, for_tests = (each for each in made if each[0] == "run")
    assert for_agent[-4:] == [
        "--entrypoint=sleep",
        "--network=none",
        "agentrt/adder:1",
        "infinity",
    ]
    assert {"--rm", "--memory=8192m", "--pids-limit=512"} < set(for_agent)
    assert for_tests[-3:] == ["--entrypoint=sleep", "agentrt/adder:1", "infinity"]
    [command] = [each for each in made if each[-1] == SOLUTION]
    assert command[:2] == ["exec", "--workdir=/testbed"]
    assert "--env=PAGER=cat" in command
    assert command[-6:] == ["timeout", "--signal=KILL", "60", "bash", "-c", SOLUTION]
    assert not list((tmp_path / "engine/containers").iterdir())  # none is left


def test_a_command_in_a_container_that_never_ends(client: str, tmp_path: Path) -> None:
    task = in_its_image(tmp_path)
    steps = [does("sleep 300"), does("touch patch.txt"), does(HAND_IN)]
    library = Library(EnvironmentKind(client))
    with ScriptedModel(steps) as model:
        result = worked_on(task, model, tmp_path / "out", library=library, tool_timeout=1.0)
        told = model.requests[1].messages[-1]["content"]
    assert "An error occurred while executing the command" in told
    assert result.problem == "patch:empty"


def test_an_image_that_is_missing(client: str, tmp_path: Path) -> None:
    task = in_its_image(tmp_path)
    (tmp_path / "engine/images/agentrt_adder:1").rename(tmp_path / "gone")
    with ScriptedModel([]) as model:
        library = Library(EnvironmentKind(client))
        result = worked_on(task, model, tmp_path / "out", library=library)
    assert result.problem == "environment:missing"
    assert result.message == f"{client} run: Unable to find image 'agentrt/adder:1' locally"


def test_no_container_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async def main() -> None:
        async with container("docker", "image", network=False):
            pass

    with pytest.raises(RepositoryError, match=r"docker run: .*No such file"):
        anyio.run(main)


def test_a_cancelled_program_leaves_no_container(client: str, tmp_path: Path) -> None:
    in_its_image(tmp_path)

    async def main() -> None:
        with anyio.move_on_after(1):
            async with container(client, "agentrt/adder:1", network=False) as place:
                await place.run("sleep 298.7", 60)

    anyio.run(main)
    assert not list((tmp_path / "engine/containers").iterdir())
    left = subprocess.run(["pgrep", "-f", "sleep 298.7$"], capture_output=True, check=False)
    assert left.stdout == b""


def test_images_of_older_data_sets_have_a_fixed_name(tmp_path: Path) -> None:
    row = {
        "instance_id": "django__django-11099",
        "repo": "django/django",
        "base_commit": "0" * 40,
        "problem_statement": "",
        "FAIL_TO_PASS": [],
        "PASS_TO_PASS": [],
    }
    [task] = load_tasks(str(written(tmp_path / "rows.jsonl", row)), "test")
    assert not isinstance(task, Recipe)
    assert image_of(task) == "swebench/sweb.eval.x86_64.django_1776_django-11099:latest"
