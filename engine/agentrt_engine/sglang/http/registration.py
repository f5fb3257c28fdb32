"""Hooks SGLang's HTTP process. In the other processes none of the hooks is ever called."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sglang.srt.plugins.hook_registry import HookRegistry, HookType

from agentrt_engine.sglang.http.adapters import drop_for_good
from agentrt_engine.sglang.http.channel import open_channel
from agentrt_engine.sglang.http.identity import tag_tokenized
from agentrt_engine.sglang.http.learned_file import LearnedFile
from agentrt_engine.sglang.http.learned_keeper import LearnedKeeper, save_before_exit
from agentrt_engine.sglang.http.token_ids import require_token_ids

_MANAGER = "sglang.srt.managers.tokenizer_manager.TokenizerManager"
_SERVER = "sglang.srt.entrypoints.http_server._setup_and_run_http_server"


def register(keys: Sequence[str], learned_path: Path | None) -> None:
    """Hook this process.

    Args:
        keys: any of them opens the engine; SGLang itself must run with the first. Empty: SGLang's
            own key, if it has one.
        learned_path: file for what the policy learns; None: it is forgotten at the end.
    """
    process = _HttpProcess(keys, learned_path)
    HookRegistry.register(_SERVER, process.extend, HookType.BEFORE)
    tokenized = f"{_MANAGER}._create_tokenized_object"
    HookRegistry.register(tokenized, require_token_ids, HookType.BEFORE)
    HookRegistry.register(tokenized, tag_tokenized, HookType.AFTER)
    HookRegistry.register(f"{_MANAGER}.unload_lora_adapter", drop_for_good, HookType.AROUND)
    HookRegistry.register(f"{_MANAGER}.sigterm_watchdog", process.exit_on_signal, HookType.AROUND)


@dataclass(slots=True)
class _HttpProcess:
    keys: Sequence[str]
    learned_path: Path | None
    keeper: LearnedKeeper | None = None

    def extend(self, server_args: Any, tokenizer_manager: Any, *_args: Any, **_kwargs: Any) -> None:
        from sglang.srt.entrypoints.http_server import app

        from agentrt_engine.sglang.http import server

        if server_args.tokenizer_worker_num != 1:
            sys.exit("agentrt needs --tokenizer-worker-num 1: more would not share their programs")
        channel = open_channel(tokenizer_manager)
        if self.learned_path is not None:
            self.keeper = LearnedKeeper(channel, LearnedFile(self.learned_path))
        own_key = [server_args.api_key] if server_args.api_key else []
        keys = list(self.keys) or own_key
        server.extend(app, channel, keys, server_args.admin_api_key, self.keeper)

    def exit_on_signal(self, original: Any, manager: Any) -> Coroutine[Any, Any, None]:
        if self.keeper is not None:
            return save_before_exit(self.keeper, original, manager)
        coroutine: Coroutine[Any, Any, None] = original(manager)
        return coroutine
