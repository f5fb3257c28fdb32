"""`GET /agentrt/info`: what this engine is, answered only where the plug-in is active."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from sglang.srt.plugins.hook_registry import HookRegistry, HookType

from agentrt_engine.sglang.flag import PLUGIN_INACTIVE_EXIT, EngineFlag
from agentrt_engine.wire.info import INFO_PATH, EngineInfo

_SCHEDULER_INFO_KEY = "agentrt"


def register(flag: EngineFlag) -> None:
    """Hook scheduler and HTTP server of this process, whichever it is.

    The scheduler adds its half to what it reports at start; the HTTP server refuses to
    start when a scheduler did not, because then the policy would silently not be in force.
    """

    def add_scheduler_half(report: dict[str, Any], scheduler: Any) -> None:
        report[_SCHEDULER_INFO_KEY] = {
            "policy": flag.policy,
            "kv_tokens": scheduler.max_total_num_tokens,
            "max_running": scheduler.max_running_requests,
        }

    def add_route(
        run_server: Callable[..., None],
        server_args: Any,
        tokenizer_manager: Any,
        template_manager: Any,
        port_args: Any,
        scheduler_infos: list[dict[str, Any]],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        from sglang.srt.entrypoints.http_server import app

        if not all(_SCHEDULER_INFO_KEY in info for info in scheduler_infos):
            sys.exit(PLUGIN_INACTIVE_EXIT)
        info = EngineInfo(
            version=version("agentrt"),
            sglang=version("sglang"),
            instance=flag.instance,
            model=tokenizer_manager.served_model_name,
            device=server_args.device,
            lora_sharing=flag.lora_sharing,
            **scheduler_infos[0][_SCHEDULER_INFO_KEY],
        )

        async def agentrt_info() -> dict[str, Any]:
            return info.to_builtins()

        app.add_api_route(INFO_PATH, agentrt_info, methods=["GET"])
        run_server(
            server_args, tokenizer_manager, template_manager, port_args, scheduler_infos,
            *args, **kwargs,
        )  # fmt: skip

    HookRegistry.register(
        "sglang.srt.managers.scheduler.Scheduler.get_init_info", add_scheduler_half, HookType.AFTER
    )
    HookRegistry.register(
        "sglang.srt.entrypoints.http_server._setup_and_run_http_server", add_route, HookType.AROUND
    )
