"""Entry point `sglang.srt.plugins: agentrt`; SGLang calls it in each of its processes.

Without the flag (`flag.py`) it registers the name of an attention backend and leaves stock
SGLang untouched. SGLang logs an exception here and goes on, so `launch` asks `is_active`.
"""

from __future__ import annotations

import os
from typing import Any

from sglang.srt.arg_groups.choices import add_attention_backend_choices
from sglang.srt.layers.attention.attention_registry import register_attention_backend

from agentrt_engine.policy import make_order
from agentrt_engine.sglang import grammar, info, scheduling
from agentrt_engine.sglang.flag import read_flag
from agentrt_engine.sglang.options import CPU_ATTENTION_BACKEND

_active = False


def activate() -> None:
    """Register names; with the flag, hook this process as well."""
    global _active
    add_attention_backend_choices([CPU_ATTENTION_BACKEND])
    register_attention_backend(CPU_ATTENTION_BACKEND)(_cpu_attention)
    flag = read_flag(os.environ)
    if flag is None:
        return
    info.register(flag)
    grammar.register()
    scheduling.register(make_order(flag.policy))
    _active = True


def is_active() -> bool:
    """Whether the hooks are registered in this process."""
    return _active


def _cpu_attention(model_runner: Any) -> Any:
    from agentrt_engine.sglang.cpu.attention import CpuAttention

    return CpuAttention(model_runner)
