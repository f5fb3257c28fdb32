"""Entry point `sglang.srt.plugins: agentrt`; SGLang calls it in each of its processes.

Without the flag (`flag.py`) it registers names and leaves stock SGLang untouched. SGLang logs an
exception here and goes on, so `launch` asks `is_active`, and the radix cache refuses to be made.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from pathlib import Path
from typing import Any

from sglang.srt.arg_groups.choices import add_attention_backend_choices
from sglang.srt.layers.attention.attention_registry import register_attention_backend
from sglang.srt.mem_cache.registry import register_radix_cache_backend

from agentrt_engine.policy import make_live_policy
from agentrt_engine.sglang import grammar, info
from agentrt_engine.sglang.flag import API_KEY_VARIABLE, CACHE_BACKEND, EngineFlag, read_flag
from agentrt_engine.sglang.options import ATTENTION_BACKEND

#: A process that gets it writes the stacks of all its threads to the log, and goes on.
STACKS_SIGNAL = signal.SIGUSR1

_active = False
_flag: EngineFlag | None = None
_hooks: Any = None
_lora_hooks: Any = None


def activate() -> None:
    """Register names; with the flag, hook this process as well."""
    global _active, _flag, _hooks, _lora_hooks
    add_attention_backend_choices([ATTENTION_BACKEND])
    register_attention_backend(ATTENTION_BACKEND)(_attention)
    register_radix_cache_backend(CACHE_BACKEND, _program_cache)
    flag = read_flag(os.environ, sys.argv)
    if flag is None:
        return
    make_live_policy(flag.policy)
    os.environ.update(flag.environment())  # for the processes that SGLang spawns
    faulthandler.register(STACKS_SIGNAL)

    from agentrt_engine.sglang.http import registration
    from agentrt_engine.sglang.lora.hooks import LoraHooks
    from agentrt_engine.sglang.scheduler.hooks import SchedulerHooks

    keys = [key for key in os.environ.get(API_KEY_VARIABLE, "").splitlines() if key]
    _flag, _lora_hooks = flag, LoraHooks(flag.lora_sharing)
    _hooks = SchedulerHooks(_lora_hooks.place)
    info.register(flag)
    registration.register(keys, None if flag.learned is None else Path(flag.learned))
    grammar.register()
    _hooks.register()
    _lora_hooks.register()
    _active = True


def is_active() -> bool:
    """Whether the hooks are registered in this process."""
    return _active


def _program_cache(ctx: Any) -> Any:
    from agentrt_engine.sglang.scheduler.factory import make_cache

    return make_cache(ctx, _flag, _hooks)


def _attention(model_runner: Any) -> Any:
    from agentrt_engine.sglang.attention import make_attention

    if _lora_hooks is None:
        return make_attention(model_runner, None)
    _lora_hooks.provide_values(model_runner)
    return make_attention(model_runner, _lora_hooks.values)
