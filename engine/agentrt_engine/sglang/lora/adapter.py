"""A LoRA adapter in PEFT's format, as far as serving it must know it."""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from agentrt_engine.errors import SettingError
from agentrt_engine.lora_sharing import LoraSharing

#: Files of an adapter's folder.
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

#: K has no low-rank part of its own: it would have to be added before rotation.
_ALTERS_KEYS = "k_proj"

#: Their inputs or outputs are not tokens of one request.
_OUTSIDE_LAYERS = frozenset(["embed_tokens", "lm_head"])


class _Config(msgspec.Struct):
    """Of `adapter_config.json`."""

    r: int
    lora_alpha: float
    target_modules: str | list[str]
    peft_type: str = "LORA"
    use_dora: bool = False
    alora_invocation_tokens: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter is.

    Attributes:
        rank: of its matrices.
        modules: projections it adapts, by name; "all-linear" stands for itself.
        invocation: tokens from whose last occurrence in the prompt on it acts (activated LoRA);
            empty: it acts everywhere.
    """

    rank: int
    modules: frozenset[str]
    invocation: tuple[int, ...] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Adapter:
        """From the contents of `adapter_config.json`.

        Raises:
            ValueError: this is no LoRA adapter, or one of a kind that cannot be served.
        """
        try:
            read = msgspec.convert(dict(config), _Config, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(f"{CONFIG}: {error}") from error
        if read.peft_type.upper() != "LORA":
            raise ValueError(f"{CONFIG}: peft_type is {read.peft_type!r}, expected LORA")
        if read.use_dora:
            raise ValueError(f"{CONFIG}: use_dora is true, expected plain LoRA")
        if read.r < 1:
            raise ValueError(f"{CONFIG}: r is {read.r}, expected at least 1")
        modules = read.target_modules
        names = [modules] if isinstance(modules, str) else modules
        invocation = tuple(read.alora_invocation_tokens or ())
        adapter = cls(read.r, frozenset(name.rpartition(".")[2] for name in names), invocation)
        if invocation and adapter.modules & _OUTSIDE_LAYERS:
            raise ValueError(
                f"{CONFIG}: target_modules has {', '.join(adapter.modules & _OUTSIDE_LAYERS)}, "
                "expected none of it with alora_invocation_tokens"
            )
        return adapter

    def require_suits(self, sharing: LoraSharing) -> None:
        """Check that the adapter can be served in a mode.

        Raises:
            ValueError: it cannot; the message says why.
        """
        if not sharing.splits_values or self.invocation:
            return
        if self.modules & {_ALTERS_KEYS, "qkv_proj", "all-linear"}:
            raise ValueError(
                f"{CONFIG}: target_modules has {_ALTERS_KEYS}, which --lora-sharing {sharing} "
                "cannot share: expected q_proj, v_proj and what comes after attention"
            )

    def acts_from(self, prompt: array[int]) -> int | None:
        """First token of a prompt for which it acts; None where its invocation is not there."""
        if not self.invocation:
            return 0
        text, wanted = prompt.tobytes(), array(prompt.typecode, self.invocation).tobytes()
        at = text.rfind(wanted)
        while at > 0 and at % prompt.itemsize:  # it begins within a token
            at = text.rfind(wanted, 0, at + len(wanted) - 1)
        return None if at < 0 else at // prompt.itemsize


@dataclass(frozen=True, slots=True)
class NamedAdapter:
    """An adapter to serve.

    Attributes:
        name: requests ask for it as `base:name`.
        path: its folder.
    """

    name: str
    path: Path
    adapter: Adapter


def read_adapters(named: Collection[str], sharing: LoraSharing) -> tuple[NamedAdapter, ...]:
    """The adapters that an engine starts with, each given as `NAME=PATH`.

    Raises:
        SettingError: one is not there, cannot be read, does not suit the mode, or comes twice.
    """
    found: dict[str, NamedAdapter] = {}
    for each in named:
        name, equals, path = each.partition("=")
        if not (name and equals and path) or ":" in name or not name.isprintable() or " " in name:
            raise SettingError(
                f"--lora {each!r}: expected NAME=PATH, with a name without spaces and colons"
            )
        if name in found:
            raise SettingError(f"--lora: the name {name!r} is given twice")
        found[name] = NamedAdapter(name, Path(path).resolve(), _read(name, Path(path), sharing))
    return tuple(found.values())


def _read(name: str, folder: Path, sharing: LoraSharing) -> Adapter:
    try:
        adapter = Adapter.of(json.loads((folder / CONFIG).read_bytes()))
        adapter.require_suits(sharing)
    except (OSError, ValueError, TypeError) as error:
        raise SettingError(f"adapter {name!r} in {folder}: {error}") from error
    if not (folder / WEIGHTS).is_file():
        raise SettingError(f"adapter {name!r} in {folder}: expected a file {WEIGHTS}")
    return adapter
