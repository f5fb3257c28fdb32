"""The loaded kernels, or why there are none."""

from __future__ import annotations

import ctypes
import logging
import os
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

from agentrt_engine.errors import SettingError
from agentrt_engine.kernels.native.build import CannotBuild, build_kernels

#: `0` leaves everything to torch.
NATIVE_VARIABLE = "AGENTRT_NATIVE"

_logger = logging.getLogger(__name__)
_integer, _pointer = ctypes.c_int64, ctypes.c_void_p


class Level(IntEnum):
    """Instruction sets that the loops are compiled for; each includes those before it."""

    PORTABLE = 0
    AVX2 = 1
    AVX512 = 2


class Batch(ctypes.Structure):
    """`struct batch` of kernels.c."""

    _fields_ = (
        ("sequences", _integer),
        ("page_size", _integer),
        ("pages", _pointer),
        ("pages_stride", _integer),
        ("rows", _pointer),
        ("lengths", _pointer),
        ("query_start", _pointer),
        ("query_positions", _pointer),
        ("key_positions", _pointer),
        ("key_positions_stride", _integer),
        ("most_queries", _integer),
    )


class LowRankArguments(ctypes.Structure):
    """`struct low_rank` of kernels.c."""

    _fields_ = (
        ("pool", _pointer),
        ("pool_page", _integer),
        ("pool_slot", _integer),
        ("producers", _pointer),
        ("producers_page", _integer),
        ("up", _pointer),
        ("up_adapter", _integer),
        ("up_head", _integer),
        ("up_row", _integer),
        ("ranks", _pointer),
        ("adapters", _pointer),
        ("rank", _integer),
    )


class Shapes(ctypes.Structure):
    """`struct shapes` of kernels.c."""

    _fields_ = tuple(
        (name, _integer)
        for name in (
            *("bf16", "heads", "kv_heads", "size", "value_size"),
            *("query_token", "query_head"),
            *("key_page", "key_slot", "key_head"),
            *("value_page", "value_slot", "value_head"),
            *("output_token", "output_head"),
        )
    )


class LlamaLayer(ctypes.Structure):
    """`struct llama_layer` of kernels.c."""

    _fields_ = tuple(
        (name, _pointer)
        for name in (
            *("input_norm", "qkv", "qkv_bias", "output", "post_norm", "gate_up", "down"),
            *("keys", "values"),
        )
    )


class LlamaArguments(ctypes.Structure):
    """`struct llama` of kernels.c."""

    _fields_ = (
        ("layers", _pointer),
        ("final_norm", _pointer),
        ("rotations", _pointer),
        ("shapes", Shapes),
        ("count", _integer),
        ("hidden", _integer),
        ("intermediate", _integer),
        ("epsilon", ctypes.c_float),
        ("scale", ctypes.c_float),
    )


@dataclass(frozen=True, slots=True)
class Library:
    """The functions of kernels.c. Those that return a number return 0, or 1: no memory.

    Attributes:
        best: the best level of this processor, which is in use from the start.
    """

    attention: Any
    linear: Any
    llama_decode: Any
    choose: Any
    best: Level

    def use(self, level: Level) -> None:
        """Compute with the loops of this level from now on, in the whole process.

        Raises:
            ValueError: the processor has not got it.
        """
        if self.choose(level):
            raise ValueError(f"this processor has no {level.name}: at most {self.best.name}")


@cache
def library() -> Library | None:
    """The kernels; None where they are turned off or cannot be built, which the log says once.

    Raises:
        SettingError: the variable that turns them off is neither 0 nor 1.
    """
    chosen = os.environ.get(NATIVE_VARIABLE, "")
    if chosen not in ("", "0", "1"):
        raise SettingError(f"{NATIVE_VARIABLE} is {chosen!r}: expected 0 or 1")
    if chosen == "0":
        return None
    try:
        return _load()
    except CannotBuild as problem:
        _logger.warning("decoding without native kernels, in torch: %s", problem)
        return None


def _load() -> Library:
    path = build_kernels()
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as problem:
        raise CannotBuild(f"cannot load {path}: {problem}") from problem
    loaded.agentrt_attention.argtypes = (
        *([_pointer] * 7),
        ctypes.c_float,
        ctypes.c_int,
    )
    loaded.agentrt_linear.argtypes = (
        *(_pointer, _integer, _pointer, _pointer, _pointer, _integer),
        *(_integer, _integer, _integer, ctypes.c_int),
    )
    loaded.agentrt_llama_decode.argtypes = (*([_pointer] * 6), ctypes.c_int)
    best = Level(loaded.agentrt_best_level())
    made = Library(
        attention=loaded.agentrt_attention,
        linear=loaded.agentrt_linear,
        llama_decode=loaded.agentrt_llama_decode,
        choose=loaded.agentrt_set_level,
        best=best,
    )
    made.use(best)
    return made
