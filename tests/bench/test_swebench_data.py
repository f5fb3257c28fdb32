"""Data sets: files, rows and recipes, and what is said of those that are none."""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pyarrow
import pytest
from pyarrow.parquet import write_table

from agentrt.errors import SettingError
from agentrt_tools.swebench import sdist
from agentrt_tools.swebench.child import RepositoryError
from agentrt_tools.swebench.data_set import OWN, choose, load_tasks
from agentrt_tools.swebench.instance import Instance
from agentrt_tools.swebench.library import EnvironmentKind, cannot_be_run
from agentrt_tools.swebench.recipe import Recipe
from agentrt_tools.swebench.repository import Repository
from agentrt_tools.swebench.sdist import fetch_sdist
from tests.bench.adder import ROW, adder, row, written

OFFICIAL: dict[str, Any] = {
    "instance_id": "a__b-1",
    "repo": "a/b",
    "base_commit": "c" * 40,
    "problem_statement": "it fails",
    "FAIL_TO_PASS": '["t::a"]',
    "PASS_TO_PASS": ["t::b"],
    "hints_text": "ignored",
}

LOCAL: dict[str, Any] = {
    "git": "/p",
    "requirements": ["pytest==8.4.2"],
    "test_command": "pytest",
    "test_paths": ["tests"],
}


def test_our_own_instances_are_what_they_should_be() -> None:
    tasks = load_tasks(OWN, "test")
    recipes = [task for task in tasks if isinstance(task, Recipe)]
    assert len(recipes) == len(tasks) >= 12
    assert len({task.repo for task in recipes}) >= 4
    from_index = [task for task in recipes if task.old.sdist]
    assert len(from_index) >= len(recipes) / 2
    for task in recipes:
        assert task.fail_to_pass and task.pass_to_pass
        assert not set(task.fail_to_pass) & set(task.pass_to_pass)
        assert len(task.problem_statement.split()) >= 40
        assert all("==" in each for each in task.requirements)


def test_a_row_of_swe_bench(tmp_path: Path) -> None:
    [task] = load_tasks(str(written(tmp_path / "rows.jsonl", OFFICIAL)), "test")
    assert isinstance(task, Instance)
    assert (task.fail_to_pass, task.pass_to_pass) == (("t::a",), ("t::b",))
    assert task.eval_type == "pass_and_fail"


@pytest.mark.parametrize("as_object", [False, True])
def test_json(as_object: bool, tmp_path: Path) -> None:
    rows = [OFFICIAL, {**OFFICIAL, "instance_id": "a__b-2"}]
    document = {each["instance_id"]: each for each in rows} if as_object else rows
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(document))
    assert [task.instance_id for task in load_tasks(str(path), "test")] == ["a__b-1", "a__b-2"]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_table(pyarrow.Table.from_pylist([OFFICIAL]), path)
    [task] = load_tasks(str(path), "test")
    assert task.pass_to_pass == ("t::b",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "there is no instance in it"),
        ("{", "line 1 is no JSON"),
        ("[1]", "row 1 is no instance: expected an object, got list"),
        (
            json.dumps({**OFFICIAL, "repo": 1}),
            "row 1 is no instance: Expected `str`, got `int` - at `$.repo`",
        ),
        (json.dumps({**OFFICIAL, "FAIL_TO_PASS": "t::a"}), "row 1 is no instance: Expecting value"),
        (json.dumps({"instance_id": "a"}), "row 1 is no instance: Object missing required field `"),
        (
            json.dumps({**OFFICIAL, "instance_id": "../x"}),
            "row 1 is no instance: instance_id is '../x', expected",
        ),
        (f"{json.dumps(OFFICIAL)}\n{json.dumps(OFFICIAL)}", "a__b-1 is there twice"),
        (
            json.dumps(row(tests="x")),
            "row 1 is no instance: Expected `array`, got `str` - at `$.tests`",
        ),
        (
            json.dumps(row(before={})),
            "row 1 is no instance: expected either sdist, version and sha256, or files",
        ),
        (
            json.dumps(row(before={"sdist": "../x", "version": "1", "sha256": "0" * 64})),
            "row 1 is no instance: sdist, version or sha256 cannot be those of a source",
        ),
        (
            json.dumps({**OFFICIAL, "base_commit": "--upload-pack=x"}),
            "row 1 is no instance: base_commit is '--upload-pack=x', expected a hash",
        ),
        (json.dumps(row(typo=1)), "row 1 is no instance: Object contains unknown field `typo`"),
        (
            json.dumps({**OFFICIAL, "local": {"git": "x"}}),
            "row 1 is no instance: Object missing required field `requirements` - at `$.local`",
        ),
        (json.dumps({**OFFICIAL, "image": "--privileged"}), "image is '--privileged', expected"),
        (json.dumps({**OFFICIAL, "eval_type": "other"}), "row 1 is no instance: Invalid enum"),
        *(
            (json.dumps({**OFFICIAL, "local": {**LOCAL, **wrong}}), f"row 1 is no instance: {says}")
            for wrong, says in (
                ({"git": ""}, "local.git is empty, expected where the repository is cloned from"),
                ({"test_paths": []}, "test_paths is empty, expected what the test patch changes"),
                ({"requirements": ["x @ https://y/z"]}, "requirement 'x @ https://y/z', expected"),
                ({"requirements": ["--target=/"]}, "requirement '--target=/', expected"),
            )
        ),
    ],
)
def test_files_that_are_none(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(SettingError) as refused:
        load_tasks(str(path), "test")
    assert says in str(refused.value)
    assert f"--data {path}: " in str(refused.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(
        SettingError, match=r"cannot read --data nowhere.jsonl: No such file or directory"
    ):
        load_tasks("nowhere.jsonl", "test")


def test_a_data_set_of_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the hub is asked for it; nothing is reached here."""
    datasets = ModuleType("datasets")
    asked = []

    def load_dataset(name: str, split: str) -> list[dict[str, Any]]:
        asked.append((name, split))
        if name == "nowhere":
            raise ConnectionError("no hub")
        return [OFFICIAL]

    datasets.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    assert len(load_tasks("verified", "dev")) == 1
    with pytest.raises(SettingError, match=r"cannot read --data nowhere: no hub"):
        load_tasks("nowhere", "test")
    assert asked == [("SWE-bench/SWE-bench_Verified", "dev"), ("nowhere", "test")]
    monkeypatch.setitem(sys.modules, "datasets", None)  # cannot be imported
    with pytest.raises(SettingError, match=r"which takes the package datasets"):
        load_tasks("verified", "test")


def test_what_is_chosen(tmp_path: Path) -> None:
    rows = [{**OFFICIAL, "instance_id": f"a__b-{number}"} for number in range(10)]
    tasks = load_tasks(str(written(tmp_path / "rows.jsonl", *rows)), "test")
    assert [task.instance_id[-1] for task in choose(tasks, (), 3)] == ["0", "3", "6"]
    assert [task.instance_id[-1] for task in choose(tasks, ("a__b-7", "a__b-2"), None)] == [
        "7",
        "2",
    ]
    with pytest.raises(SettingError, match=r"there is no instance 'a__b-10' in the data set"):
        choose(tasks, ("a__b-10",), None)


@pytest.mark.parametrize(
    ("fields", "environment", "why"),
    [
        ({}, "local", "has no section local"),
        ({}, "docker", "has no eval_script"),
        ({}, "auto", "has no eval_script"),
        ({"eval_script": "true", "image_assets": {"patch": [1]}}, "docker", "has image_assets"),
        ({"eval_script": "true"}, "podman", ""),
        ({"eval_script": "true"}, "auto", ""),
        (None, "docker", "has no image"),
        (None, "local", ""),
        (None, "auto", ""),
    ],
)
def test_what_can_be_run_where(
    fields: dict[str, Any] | None, environment: str, why: str, tmp_path: Path
) -> None:
    data = written(tmp_path / "d.jsonl", ROW if fields is None else {**OFFICIAL, **fields})
    [task] = load_tasks(str(data), "test")
    assert cannot_be_run(task, EnvironmentKind(environment)).startswith(why)
    assert bool(cannot_be_run(task, EnvironmentKind(environment))) == bool(why)


# What a recipe becomes.


def test_a_recipe_becomes_the_same_instance_every_time(tmp_path: Path) -> None:
    recipe = adder(tmp_path)
    assert isinstance(recipe, Recipe)
    old, new = (
        {path: text.encode() for path, text in tree.files.items()}
        for tree in (recipe.old, recipe.new)
    )
    made = [anyio.run(recipe.make, Repository(tmp_path / name), old, new) for name in ("a", "b")]
    assert made[0] == made[1]
    assert made[0].patch.count("diff --git") == 1
    assert made[0].test_patch.count("diff --git") == 2
    assert "test_two" not in made[0].patch


def test_files_that_come_and_go(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    old = {"src/a.py": b"1\n", "src/b.py": b"2\n", "t/x": b"\0\1", "z": b"z\n"}
    anyio.run(repository.commit, old)
    new = {"src/b.py": b"2\n", "src/c d.py": b"3\n", "t/x": b"\0\2", "z": b"other\n"}
    patch = anyio.run(repository.difference, new, ["src"])
    assert "deleted file" in patch and "c d.py" in patch and "z" not in patch.split()
    assert "GIT binary patch" in anyio.run(repository.difference, new, ["t", "none"])
    assert anyio.run(repository.difference, new, ["none"]) == ""
    assert sorted(path.name for path in (tmp_path / "r/src").iterdir()) == ["a.py", "b.py"]


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", ".git/hooks/post-checkout"])
def test_files_that_lead_out_of_the_checkout(path: str, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"is no path of a file in a checkout"):
        anyio.run(Repository(tmp_path / "r").commit, {path: b""})


def test_an_archive_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTRT_CACHE_DIR", str(tmp_path))
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in (
            ("p-1/a.py", b"a"),
            ("p-1/../../evil", b"e"),
            ("p-1/d/.git", b"g"),
            ("p-1/d/b.py", b"b"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, BytesIO(data))
    asked = []

    async def run_child(command: list[str], does: str) -> str:
        asked.append(does)
        [folder] = [each[7:] for each in command if each.startswith("--dest=")]
        await anyio.Path(folder).mkdir()
        await anyio.Path(folder, "p-1.tar.gz").write_bytes(content.getvalue())
        return ""

    monkeypatch.setattr(sdist, "run_child", run_child)
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    for _ in range(2):
        assert anyio.run(fetch_sdist, "p", "1", sha256) == {"a.py": b"a", "d/b.py": b"b"}
    assert asked == ["pip download p==1"]


def test_an_archive_of_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTRT_CACHE_DIR", str(tmp_path))
    with pytest.raises(
        RepositoryError, match=r"pip download parse==1.20.2: (?s:.)*Expected sha256 000"
    ):
        anyio.run(fetch_sdist, "parse", "1.20.2", "0" * 64)
    assert not list((tmp_path / "sdists").iterdir())


def test_a_project_that_is_not_on_the_index(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"pip download agentrt-nowhere==0: "):
        anyio.run(fetch_sdist, "agentrt-nowhere", "0", "0" * 64)
