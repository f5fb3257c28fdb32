"""Where an adapter acts, and whose KV a request may see."""

from __future__ import annotations

import json
from array import array
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.errors import SettingError
from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.sglang.lora.adapter import CONFIG, Adapter, read_adapters
from agentrt_engine.sglang.lora.use import NEVER, AdapterUse, Namespace, parts, placed

PLAIN = Adapter(8, frozenset(["q_proj", "v_proj"]))
TOKENS = st.lists(st.integers(0, 3), max_size=12)
CONFIGURATION = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}


@given(TOKENS, st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_it_acts_from_the_last_invocation_on(prompt: list[int], invocation: list[int]) -> None:
    adapter = Adapter(8, frozenset(), tuple(invocation))
    starts = [
        at
        for at in range(len(prompt) - len(invocation) + 1)
        if prompt[at : at + len(invocation)] == invocation
    ]
    assert adapter.acts_from(array("q", prompt)) == (starts[-1] if starts else None)


def test_an_invocation_is_not_found_within_tokens() -> None:
    # As bytes, 1 << 56 and 0 hold a 1 that begins in the middle of a token.
    assert Adapter(8, frozenset(), (1,)).acts_from(array("q", [1 << 56, 0, 0])) is None


@given(st.data())
def test_each_token_is_in_one_part_that_acts_if_its_position_does(data: st.DataObject) -> None:
    sequences = data.draw(
        st.lists(st.tuples(st.sampled_from([None, 0, 1, 4, 9, NEVER]), st.integers(0, 6),
                           st.integers(1, 6)), max_size=5)
    )  # fmt: skip
    uses = [None if each[0] is None else AdapterUse("a", start=each[0]) for each in sequences]
    firsts, counts = [each[1] for each in sequences], [each[2] for each in sequences]
    acts = [
        (at, use is not None and position >= use.start)
        for at, (use, first, tokens) in enumerate(zip(uses, firsts, counts, strict=True))
        for position in range(first, first + tokens)
    ]
    found = list(parts(uses, firsts, counts))
    assert [(part.sequence, part.acts) for part in found for _ in range(part.tokens)] == acts
    assert len(found) <= 2 * len(uses)


def _key(
    use: Adapter, name: str, number: int, prompt: list[int], sharing: LoraSharing
) -> tuple[Any, ...]:
    """Namespace and tokens under which the tree has the KV of a prompt."""
    namespace = placed(use, name, number, array("q", prompt), None, sharing).namespace
    if isinstance(namespace, Namespace):
        return namespace.before, *namespace.own(array("q", prompt))
    return namespace, *prompt


def _common(one: tuple[Any, ...], other: tuple[Any, ...]) -> int:
    """Tokens that two prompts have in common in the tree."""
    if one[0] != other[0]:
        return 0
    pairs = zip(one[1:], other[1:], strict=False)
    return next((at for at, (a, b) in zip(count(), pairs, strict=False) if a != b),
                min(len(one), len(other)) - 1)  # fmt: skip


@given(TOKENS, TOKENS, st.sampled_from(LoraSharing))
def test_activated_adapters_share_what_is_the_base_models(
    one: list[int], other: list[int], sharing: LoraSharing
) -> None:
    first, second = Adapter(8, frozenset(), (3,)), Adapter(8, frozenset(), (2,))
    keys = (_key(first, "a", 0, one, sharing), _key(second, "b", 1, other, sharing))
    base = (None, *other)
    alike = _common((None, *one), base)
    start = first.acts_from(array("q", one))
    own = len(one) if start is None else start
    if sharing is LoraSharing.OFF:
        assert _common(*keys) == _common(keys[0], base) == 0
        return
    theirs = second.acts_from(array("q", other))
    limit = min(own, len(other) if theirs is None else theirs)
    assert _common(*keys) == min(alike, limit)
    assert _common(keys[0], base) == min(alike, own)


@given(TOKENS)
def test_one_adapter_finds_its_own_again(prompt: list[int]) -> None:
    for adapter in (PLAIN, Adapter(8, frozenset(), (1, 2))):
        for sharing in LoraSharing:
            keys = [_key(adapter, "a", 5, prompt, sharing) for _ in range(2)]
            assert _common(*keys) == len(prompt)


@pytest.mark.parametrize("sharing", LoraSharing)
def test_plain_adapters_share_in_the_modes_for_them_and_never_with_the_base_model(
    sharing: LoraSharing,
) -> None:
    prompt = [1, 2, 3]
    one, other = (_key(PLAIN, name, at, prompt, sharing) for at, name in enumerate("ab"))
    together = sharing in (LoraSharing.BASE, LoraSharing.BASE_LR)
    assert _common(one, other) == (3 if together else 0)
    assert _common(one, (None, *prompt)) == 0
    use = placed(PLAIN, "a", 0, array("q", prompt), "mine", sharing)
    assert (use.use.shared, use.use.start) == (together, 0)
    assert use.namespace is not None
    assert use.namespace.startswith("mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": 0}, "r is 0, expected at least 1"),
        ({"r": "many"}, "Expected `int`, got `str`"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3', expected LORA"),
        ({"use_dora": True}, "use_dora is true, expected plain LoRA"),
        ({"target_modules": ["v_proj", "k_proj"]}, "target_modules has k_proj, which .* base"),
        ({"target_modules": "all-linear"}, "target_modules has k_proj"),
        (
            {"target_modules": ["q_proj", "lm_head"], "alora_invocation_tokens": [4]},
            "target_modules has lm_head, expected none of it with alora_invocation_tokens",
        ),
    ],
)
def test_an_adapter_that_cannot_be_served_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps(CONFIGURATION | change))
    (folder / "adapter_model.safetensors").touch()
    with pytest.raises(SettingError, match=rf"adapter 'a' in .*: {CONFIG}: .*{message}"):
        read_adapters([f"a={folder}"], LoraSharing.BASE)


def test_adapters_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"adapter 'a' in .*nowhere: .*No such file"):
        read_adapters([f"a={tmp_path / 'nowhere'}"], LoraSharing.OFF)
    (tmp_path / CONFIG).write_text(json.dumps(CONFIGURATION))
    with pytest.raises(SettingError, match=r"expected a file adapter_model\.safetensors"):
        read_adapters([f"a={tmp_path}"], LoraSharing.OFF)
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(SettingError, match="the name 'a' is given twice"):
        read_adapters([f"a={tmp_path}", f"a={tmp_path}"], LoraSharing.OFF)
    assert read_adapters([f"a={tmp_path}"], LoraSharing.BASE)[0].adapter.rank == 8


@pytest.mark.parametrize("given", ["planner", "=path", "a=", "a:b=path", "a b=path"])
def test_an_adapter_is_given_as_a_name_and_a_path(given: str) -> None:
    with pytest.raises(SettingError, match="expected NAME=PATH"):
        read_adapters([given], LoraSharing.OFF)
