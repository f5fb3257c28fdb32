"""Compatibility layer: lets SGLang 0.5.23 import and run where there is no CUDA device.

Three things are missing, all of them packaging: `sgl_kernel` exists for CUDA only,
PyPI's torchvision expects operators of its CUDA library, and Triton is imported though
nothing on the CPU calls it. A fourth is a habit: LoRA code asks for pinned memory, which
a torch without CUDA cannot allocate.

The layer lives in the engine's own processes and nowhere else: `launch` installs it before
SGLang is imported. With a CUDA device it refuses, because its `sgl_kernel` would shadow
the real one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Never
from unittest.mock import patch

import torch
from torch.utils._triton import has_triton_package

#: SGLang reads this to choose its CPU code paths.
CPU_ENGINE_FLAG = "SGLANG_USE_CPU_ENGINE"

_TORCHVISION_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_TORCHVISION_OPERATORS = ("nms", "qnms")
_FACTORIES = ("empty", "zeros", "ones", "full", "tensor", "arange", "empty_like", "zeros_like")

# torch drops the operators of a library that is garbage-collected.
_keep_alive: list[object] = []


def install() -> None:
    """Make SGLang importable in this process. Call once, before SGLang is imported.

    Raises:
        RuntimeError: a CUDA device is present, or SGLang was imported already.
    """
    if torch.cuda.is_available():
        raise RuntimeError(
            "the CPU compatibility layer was asked for on a machine with CUDA; "
            "start the engine with --device cuda"
        )
    if "sglang" in sys.modules:
        raise RuntimeError(
            "the CPU compatibility layer must be installed before SGLang is imported"
        )
    os.environ[CPU_ENGINE_FLAG] = "1"
    _define_torchvision_operators()
    _ignore_pinned_memory()
    sys.meta_path.insert(0, _SglKernelFinder())
    if importlib.util.find_spec("triton") is None:
        _install_triton_stand_in()


class _SglKernel(ModuleType):
    """Stands in for `sgl_kernel`: every name imports, and raises when it is called."""

    __version__ = "0+agentrt.cpu"

    def __getattr__(self, name: str) -> Callable[..., Never]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_args: object, **_kwargs: object) -> Never:
            raise NotImplementedError(
                f"{self.__name__}.{name} is a CUDA kernel; there is no CPU one"
            )

        return missing


class _SglKernelFinder(MetaPathFinder, Loader):
    """Serves `sgl_kernel` from memory. Its submodules stay missing: SGLang has its own way then."""

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname == "sgl_kernel" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _SglKernel(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: names are made when they are asked for."""


def _define_torchvision_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")
    for name in _TORCHVISION_OPERATORS:
        library.define(name + _TORCHVISION_SCHEMA)
    _keep_alive.append(library)


def _ignore_pinned_memory() -> None:
    def without_pinning(factory: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(factory)
        def create(*args: Any, **kwargs: Any) -> Any:
            kwargs.pop("pin_memory", None)
            return factory(*args, **kwargs)

        return create

    for name in _FACTORIES:
        setattr(torch, name, without_pinning(getattr(torch, name)))
    torch.Tensor.pin_memory = lambda self, *_args, **_kwargs: self


def _install_triton_stand_in() -> None:
    """Install SGLang's own Triton mock, which it offers on macOS only.

    `_platform_stubs` asks for an Apple machine three times; here the answers are given to
    that one module while it runs. Its patches of `torch.mps` add names nothing reads on Linux.
    """
    has_triton_package()  # cached: torch must go on seeing no Triton
    spec = importlib.util.find_spec("sglang")
    assert spec is not None
    assert spec.origin is not None
    stubs = _load_file(
        "_agentrt_triton_stand_in", Path(spec.origin).with_name("_platform_stubs.py")
    )
    apple = SimpleNamespace(**vars(sys) | {"platform": "darwin"})
    arm64 = SimpleNamespace(machine=lambda: "arm64")
    with (
        patch.object(stubs, "sys", apple),
        patch.object(stubs, "platform", arm64),
        patch.object(stubs, "_patch_non_blocking", lambda: None),
        patch.object(torch.backends.mps, "is_available", lambda: True),
    ):
        stubs.install_platform_stubs()


def _load_file(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module
