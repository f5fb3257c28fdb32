"""Main module of the engine process: `python -m agentrt_engine.sglang.launch SGLANG-ARGS…`

It takes SGLang's own arguments. SGLang spawns its scheduler and detokenizer, and Python
imports the main module anew in each spawned process before anything else; that is why the
compatibility layer is installed when this module is imported, whatever its name then is.
With the flag (`flag.py`) the plug-in is active; without it this is stock SGLang.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

import torch

from agentrt_engine.sglang.flag import (
    API_KEY_VARIABLE,
    OWNED_VARIABLE,
    PLUGIN_INACTIVE_EXIT,
    read_flag,
)

if not torch.cuda.is_available():
    from agentrt_engine.sglang.cpu import compatibility

    compatibility.install()


def main() -> None:
    """Start SGLang and serve until it is told to stop."""
    if os.environ.get(OWNED_VARIABLE):
        threading.Thread(target=_die_with_owner, name="agentrt-owner", daemon=True).start()

    from sglang.launch_server import run_server
    from sglang.srt.plugins import load_plugins
    from sglang.srt.server_args import prepare_server_args
    from sglang.srt.utils import kill_process_tree

    from agentrt_engine.sglang import plugin

    load_plugins()
    if read_flag(os.environ) is not None and not plugin.is_active():
        sys.exit(PLUGIN_INACTIVE_EXIT)
    arguments = sys.argv[1:]
    if keys := os.environ.pop(API_KEY_VARIABLE, None):
        first = keys.splitlines()[0]  # the plug-in knows the others
        arguments += ["--api-key", first]
        _keep_out_of_the_log(first)
    try:
        run_server(prepare_server_args(arguments))
    finally:
        kill_process_tree(os.getpid(), include_parent=False)


def _keep_out_of_the_log(key: str) -> None:
    """SGLang logs all its arguments when it starts."""

    def redact(record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).replace(key, "***")
        return True

    logging.getLogger("sglang.srt.entrypoints.engine").addFilter(redact)


def _die_with_owner() -> None:
    """Kill this engine's process group once the owner's end of standard input is closed.

    The kernel closes it however the owner ends, `kill -9` included.
    """
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
