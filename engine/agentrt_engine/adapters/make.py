"""Have adapters trained, in a child process: folders that appear whole or not at all."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agentrt_engine.adapters.train import Job
from agentrt_engine.adapters.training import Trained, Training, read_trained
from agentrt_engine.cache import logs_dir
from agentrt_engine.child import ChildFailed, run_logged
from agentrt_engine.errors import ModelError, SettingError
from agentrt_engine.installed import require_packages

PACKAGES = ("torch", "transformers", "safetensors")

_STEP = re.compile(r"step (\d+)")


def make_adapters(
    model: Path,
    target: Path,
    trainings: Sequence[Training],
    on_step: Callable[[int], None] = lambda done: None,
) -> dict[str, Trained]:
    """Train adapters; a folder for each, named after its task, in `target`.

    The folders appear when all are done, or not at all.

    Args:
        model: folder of the base model, built like Llama.
        target: is made when absent.
        trainings: of different tasks.
        on_step: hears how many steps are done, of all adapters together.

    Returns:
        What was made, by name of the folder.

    Raises:
        SettingError: a folder is there already, or `target` cannot be written.
        EngineNotInstalled: a package is missing.
        ModelError: the training failed.
    """
    for training in trainings:
        if (target / training.task).exists():
            raise SettingError(
                f"{target / training.task}: is there already",
                hint="remove it, or name another folder",
            )
    require_packages("training adapters", PACKAGES)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".training-", dir=target) as name:
            work = Path(name)
            _train(Job(str(model.resolve()), str(work), tuple(trainings)), work, on_step)
            for training in trainings:
                (work / training.task).rename(target / training.task)
    except OSError as error:
        raise SettingError(f"cannot write adapters to {target}: {error.strerror}") from error
    return {training.task: read_trained(target / training.task) for training in trainings}


def _train(job: Job, work: Path, on_step: Callable[[int], None]) -> None:
    description = work / "job.json"
    description.write_bytes(msgspec.json.encode(job))

    def hear(line: str) -> None:
        if step := _STEP.fullmatch(line):
            on_step(int(step[1]))

    command = [sys.executable, "-P", "-m", "agentrt_engine.adapters.train", str(description)]
    try:
        run_logged(command, log=logs_dir() / "lora-train.log", on_line=hear)
    except ChildFailed as failure:
        raise ModelError(
            f"training on {job.model} failed: {failure}",
            hint="the model must be built like Llama and have a chat template",
        ) from failure
