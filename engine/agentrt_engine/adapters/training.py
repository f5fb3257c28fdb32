"""What one training is asked to do, and what came of it; the record lies beside the adapter."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec

from agentrt_engine.adapters.tasks import MAX_ITEMS, Task
from agentrt_engine.errors import SettingError

#: File of an adapter's folder that says how it was made; SGLang and PEFT ignore it.
RECORD = "training.json"


class Variant(StrEnum):
    """Kind of adapter.

    Attributes:
        LORA: A and B are trained; A begins differently for each task.
        SHARED_A: A is drawn from the seed alone and stays, only B is trained: all tasks have
            the same A.
        ALORA: activated LoRA: it acts from the last beginning of a reply on and leaves what is
            before to the base model.
    """

    LORA = "lora"
    SHARED_A = "shared-a"
    ALORA = "alora"


class Training(msgspec.Struct, frozen=True):
    """Settings of one adapter; the same ones give the same bytes on the same machine.

    Attributes:
        steps: updates of the weights.
        batch: items per step; no item is shown twice.
        rank: rows of A. The scale of the product is 2, as alpha is twice the rank.
        held_out: items that the adapter is judged by and never trained on.
    """

    task: Task
    variant: Variant = Variant.LORA
    seed: int = 0
    steps: int = 30
    batch: int = 8
    rank: int = 8
    held_out: int = 24

    def __post_init__(self) -> None:
        """Raises SettingError where there are not so many items."""
        if self.steps * self.batch > MAX_ITEMS:
            raise SettingError(
                f"{self.steps} steps of {self.batch} items: expected at most {MAX_ITEMS:,} items"
            )


class Score(msgspec.Struct, frozen=True):
    """How well a model does a task on held-out items.

    Attributes:
        loss: mean over the tokens of the replies, nats.
        exact: share of items whose greedy reply is right to the last character.
    """

    loss: float
    exact: float


class Trained(msgspec.Struct, frozen=True):
    """A finished adapter.

    Attributes:
        before: the base model's score.
        after: with the adapter.
        seconds: of the steps.
    """

    training: Training
    before: Score
    after: Score
    seconds: float


def read_trained(folder: Path) -> Trained:
    """The record of an adapter that was trained here.

    Raises:
        SettingError: the folder holds none.
    """
    path = folder / RECORD
    try:
        return msgspec.json.decode(path.read_bytes(), type=Trained)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingError(
            f"{path}: no record of a training: {error}", hint="agentrt lora train FOLDER"
        ) from error
