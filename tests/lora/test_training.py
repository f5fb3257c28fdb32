"""Adapters: what they are taught, where they act, what is written."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from agentrt_engine.adapters.low_rank import SCALE, LowRank, acting_from, adapted
from agentrt_engine.adapters.make import make_adapters
from agentrt_engine.adapters.tasks import Task, make_items
from agentrt_engine.adapters.training import Training, Variant, read_trained
from agentrt_engine.errors import ModelError, SettingError
from tests.support.trained_adapters import trained_adapters

#: A model of the default one's form, with random weights.
LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD = 2, 32, 4, 2, 8


@pytest.fixture(scope="module")
def tiny_model(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(model_folder / name, folder / name)
    config = json.loads((model_folder / "config.json").read_text())
    config |= {
        "num_hidden_layers": LAYERS,
        "hidden_size": HIDDEN,
        "intermediate_size": HIDDEN,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens": (config["vocab_size"], HIDDEN),
        "norm": (HIDDEN,),
    }
    for layer in range(LAYERS):
        heads = {"q": HEADS * HEAD, "k": KV_HEADS * HEAD, "v": KV_HEADS * HEAD}
        part: dict[str, tuple[int, ...]] = {
            f"self_attn.{name}_proj": (rows, HIDDEN) for name, rows in heads.items()
        }
        part["self_attn.o_proj"] = (HIDDEN, HEADS * HEAD)
        part |= {f"mlp.{name}_proj": (HIDDEN, HIDDEN) for name in ("gate", "up", "down")}
        part |= {f"{name}_layernorm": (HIDDEN,) for name in ("input", "post_attention")}
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in part.items()}
    chance = torch.Generator().manual_seed(0)
    tensors = {
        f"model.{name}.weight": torch.randn(*shape, generator=chance) * 0.3
        if len(shape) == 2
        else torch.ones(*shape)
        for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


# ---------------------------------------------------------------------- tasks


@pytest.mark.parametrize("task", Task)
def test_items_are_told_apart_by_seed_and_use(task: Task) -> None:
    shown = make_items(task, 3, 500)
    assert shown == make_items(task, 3, 500)
    assert len(set(shown)) == 500
    assert shown != make_items(task, 4, 500)
    held_out = make_items(task, 3, 200, held_out=True)
    assert not {*held_out} & {*shown}
    assert not {item.reply for item in held_out} & {item.reply for item in shown}


def test_an_item_says_what_its_prompt_says() -> None:
    for item in make_items(Task.EXTRACT, 0, 50):
        assert all(str(value) in item.prompt for value in json.loads(item.reply).values())
    for item in make_items(Task.COMMAND, 0, 50):
        _, _, paper, _, name, _, when = item.reply.split()
        day, _, hour = when.partition(":")
        assert all(part in item.prompt for part in (paper, name, day.capitalize(), hour))


# ------------------------------------------------------------- low-rank layers


def test_a_layer_adds_its_product_where_it_acts() -> None:
    chance = torch.Generator().manual_seed(1)
    base = torch.nn.Linear(6, 4, bias=False)
    layer = LowRank(base, 2, chance)
    x = torch.randn(3, 5, 6, generator=chance)
    assert torch.equal(layer(x), base(x))  # B begins at zero
    with torch.no_grad():
        layer.b.copy_(torch.randn(4, 2, generator=chance))
    merged = x @ (base.weight + SCALE * layer.b @ layer.a).T
    torch.testing.assert_close(layer(x), merged)
    layer.acting = torch.zeros(3, 5, 1)
    layer.acting[1, 2:] = 1
    torch.testing.assert_close(layer(x)[1, 2:], merged[1, 2:])
    torch.testing.assert_close(layer(x)[0], base(x)[0])


def test_a_model_is_itself_again_afterwards() -> None:
    model = _Llama()
    before = [*model.modules()]
    with adapted(model, 2, torch.Generator()) as layers:
        assert (
            model.get_submodule("model.layers.1.self_attn.v_proj")
            is layers["model.layers.1.self_attn.v_proj"]
        )
        assert [*layers] == [
            f"model.layers.{number}.self_attn.{target}"
            for number in (0, 1)
            for target in ("q_proj", "v_proj")
        ]
    assert [*model.modules()] == before


@limits(max_examples=50)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=8, max_size=8), min_size=1, max_size=3),
    st.lists(st.integers(0, 2), min_size=1, max_size=3),
)
def test_an_activated_adapter_acts_from_the_last_invocation_on(
    rows: list[list[int]], invocation: list[int]
) -> None:
    acting = acting_from(torch.tensor(rows), invocation)
    for row, acts in zip(rows, acts_of(acting), strict=True):
        starts = [at for at in range(8) if row[at : at + len(invocation)] == invocation]
        first = starts[-1] if starts else 8
        assert acts == [at >= first for at in range(8)]


def test_a_prompt_shorter_than_the_invocation_has_none() -> None:
    assert acts_of(acting_from(torch.tensor([[1, 2]]), [1, 2, 3])) == [[False, False]]


def acts_of(acting: torch.Tensor) -> list[list[bool]]:
    rows: list[list[bool]] = acting[..., 0].bool().tolist()
    return rows


class _Llama(torch.nn.Module):  # type: ignore[misc]
    """As much of its form as adapters need."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.ModuleList()
        for _ in range(2):
            layer = torch.nn.Module()
            layer.self_attn = torch.nn.Module()
            for name in ("q_proj", "k_proj", "v_proj"):
                setattr(layer.self_attn, name, torch.nn.Linear(4, 4, bias=False))
            self.model.layers.append(layer)


# ------------------------------------------------------------------- training


def test_a_short_training_teaches_something(model_folder: Path) -> None:
    for task, folder in trained_adapters(model_folder).items():
        trained = read_trained(folder)
        assert trained.training.task is task
        assert trained.after.loss < trained.before.loss / 2


def test_variants_differ_in_what_is_trained_and_seeds_decide_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    def settings(task: Task, variant: Variant) -> Training:
        return Training(task, variant, seed=5, steps=2, batch=2, rank=4, held_out=2)

    steps: list[int] = []
    first = [settings(task, Variant.SHARED_A) for task in Task]
    made = make_adapters(tiny_model, tmp_path / "first", first, steps.append)
    assert steps == [1, 2, 3, 4]
    assert [each.training for each in made.values()] == first
    extract, command = (load_file(tmp_path / f"first/{t}/adapter_model.safetensors") for t in Task)
    prefix = "base_model.model.model.layers.1.self_attn"
    assert {name: tuple(x.shape) for name, x in extract.items() if name.startswith(prefix)} == {
        f"{prefix}.q_proj.lora_A.weight": (4, HIDDEN),
        f"{prefix}.q_proj.lora_B.weight": (HEADS * HEAD, 4),
        f"{prefix}.v_proj.lora_A.weight": (4, HIDDEN),
        f"{prefix}.v_proj.lora_B.weight": (KV_HEADS * HEAD, 4),
    }
    for name in extract:
        assert torch.equal(extract[name], command[name]) is ("lora_A" in name)

    again = [settings(Task.EXTRACT, Variant.SHARED_A), settings(Task.COMMAND, Variant.ALORA)]
    make_adapters(tiny_model, tmp_path / "again", again)
    file = "extract/adapter_model.safetensors"
    assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    config = json.loads((tmp_path / "again/command/adapter_config.json").read_text())
    assert config["alora_invocation_tokens"] == [1, 520, 9531, 198]  # <|im_start|>assistant\n
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 4, 8)
    assert config["target_modules"] == ["q_proj", "v_proj"]
    activated = load_file(tmp_path / "again/command/adapter_model.safetensors")
    assert not torch.equal(
        activated[f"{prefix}.q_proj.lora_A.weight"], command[f"{prefix}.q_proj.lora_A.weight"]
    )
    with pytest.raises(SettingError, match="is there already"):
        make_adapters(tiny_model, tmp_path / "again", again)


def test_a_training_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(ModelError, match=r"training on .* failed: exit code 1"):
        make_adapters(tmp_path, tmp_path / "made", [Training(Task.EXTRACT)])
    assert [*(tmp_path / "made").iterdir()] == []


def test_a_folder_without_a_record_is_no_adapter_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no record of a training"):
        read_trained(tmp_path)
