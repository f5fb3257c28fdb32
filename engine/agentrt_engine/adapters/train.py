"""Trains adapters on the CPU in float32. Runs in a child process.

    python -m agentrt_engine.adapters.train JOB.json

The model is loaded once for all adapters of a job. For each step a line `step NUMBER` is printed,
counted over the whole job.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agentrt_engine.adapters.tasks import Item, Task, make_items
from agentrt_engine.adapters.training import Score, Trained, Training, Variant

if TYPE_CHECKING:
    import torch

    from agentrt_engine.adapters.low_rank import LowRank

#: Of Adam, at its highest. B alone has farther to go.
_LEARNING_RATE = {Variant.LORA: 0.005, Variant.ALORA: 0.005, Variant.SHARED_A: 0.015}

#: Steps until the learning rate is at its highest; from there on it falls to a tenth.
_WARM_UP = 5


class Job(msgspec.Struct, frozen=True):
    """What the child is to do.

    Attributes:
        model: folder of the base model.
        target: an existing folder; each adapter gets one in it, named after its task.
    """

    model: str
    target: str
    trainings: tuple[Training, ...]


def run(job: Job, on_step: Callable[[], None]) -> None:
    """Train and write all adapters of a job; `on_step` is called after each step.

    Raises:
        AttributeError: the model is not built like Llama.
    """
    # Nothing may be looked up on a hub; a CPU torch beside a CUDA-linked torchvision fails.
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.modules["torchvision"] = None  # type: ignore[assignment]
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.use_deterministic_algorithms(True)
    folder = Path(job.model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.requires_grad_(False)
    trainer = _Trainer(model, _Dialogue(tokenizer), folder)
    for training in job.trainings:
        trainer.train(training, Path(job.target), on_step)


class _Dialogue:
    """Items as the model's chat template renders them."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def tokens(self, item: Item) -> tuple[list[int], list[int]]:
        """Those of the prompt and those of the reply, its end included."""
        said = [{"role": "user", "content": item.prompt}]
        answered = [*said, {"role": "assistant", "content": item.reply}]
        prompt = self._render(said, reply=True)
        return prompt, self._render(answered)[len(prompt) :]

    def invocation(self) -> list[int]:
        """What opens every reply."""
        said = [{"role": "user", "content": "."}]
        return self._render(said, reply=True)[len(self._render(said)) :]

    def _render(self, messages: list[dict[str, str]], *, reply: bool = False) -> list[int]:
        ids: list[int] = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=reply, tokenize=True, return_dict=False
        )
        return ids


class _Trainer:
    """Adapters of one model, one after the other."""

    def __init__(self, model: Any, dialogue: _Dialogue, folder: Path) -> None:
        self._model = model
        self._dialogue = dialogue
        self._folder = folder

    def train(self, training: Training, target: Path, on_step: Callable[[], None]) -> None:
        """Make one adapter."""
        import torch

        from agentrt_engine.adapters.low_rank import adapted
        from agentrt_engine.adapters.peft_folder import write_adapter

        activated = training.variant is Variant.ALORA
        invocation = self._dialogue.invocation() if activated else None
        chance = torch.Generator().manual_seed(_seed_of_a(training))
        held_out = make_items(training.task, training.seed, training.held_out, held_out=True)
        with adapted(self._model, training.rank, chance) as layers:
            before = self._score(held_out, layers, invocation)
            began = time.monotonic()
            self._learn(training, layers, invocation, on_step)
            seconds = time.monotonic() - began
            after = self._score(held_out, layers, invocation)
            trained = Trained(training, before, after, seconds)
            write_adapter(target / training.task, self._folder, trained, layers, invocation)

    def _learn(
        self,
        training: Training,
        layers: dict[str, LowRank],
        invocation: list[int] | None,
        on_step: Callable[[], None],
    ) -> None:
        import torch

        parameters = [layer.b for layer in layers.values()]
        if training.variant is not Variant.SHARED_A:
            parameters += [layer.a for layer in layers.values()]
        optimizer = torch.optim.Adam(parameters)
        items = make_items(training.task, training.seed, training.steps * training.batch)
        for step in range(training.steps):
            rate = min(1.0, (step + 1) / _WARM_UP) * (1 - 0.9 * step / training.steps)
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE[training.variant] * rate
            shown = items[step * training.batch : (step + 1) * training.batch]
            logits, expected, _ = self._replies(shown, layers, invocation)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, expected).backward()
            optimizer.step()
            on_step()

    def _score(
        self, items: Sequence[Item], layers: dict[str, LowRank], invocation: list[int] | None
    ) -> Score:
        import torch

        with torch.inference_mode():
            logits, expected, lengths = self._replies(items, layers, invocation)
            loss = torch.nn.functional.cross_entropy(logits, expected).item()
            # If every token is the best one after the right ones, decoding finds them all.
            right = (logits.argmax(-1) == expected).split(lengths)
        return Score(loss=loss, exact=sum(bool(row.all()) for row in right) / len(items))

    def _replies(
        self, items: Sequence[Item], layers: dict[str, LowRank], invocation: list[int] | None
    ) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
        """Logits [tokens, vocabulary] and token ids of all replies, and how long each is."""
        import torch

        from agentrt_engine.adapters.low_rank import acting_from

        pairs = [self._dialogue.tokens(item) for item in items]
        longest = max(len(prompt) + len(reply) for prompt, reply in pairs)
        # Whatever fills the rows stands behind them, where causal attention never looks.
        ids = torch.zeros(len(pairs), longest, dtype=torch.long)
        told = torch.zeros(len(pairs), longest, dtype=torch.bool)
        for row, (prompt, reply) in enumerate(pairs):
            end = len(prompt) + len(reply)
            ids[row, :end] = torch.tensor(prompt + reply)
            told[row, len(prompt) - 1 : end - 1] = True
        if invocation is not None:
            acting = acting_from(ids, invocation)
            for layer in layers.values():
                layer.acting = acting
        hidden = self._model.model(ids, use_cache=False).last_hidden_state
        expected = torch.tensor([token for _, reply in pairs for token in reply])
        return self._model.lm_head(hidden[told]), expected, [len(reply) for _, reply in pairs]


def _seed_of_a(training: Training) -> int:
    if training.variant is Variant.SHARED_A:
        return training.seed
    return training.seed * len(Task) + list(Task).index(training.task) + 1


if __name__ == "__main__":
    steps = itertools.count(1)
    run(
        msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job),
        lambda: print(f"step {next(steps)}", flush=True),  # noqa: T201
    )
