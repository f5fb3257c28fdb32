"""The engine's log file: where it is, what stage it shows, what to quote when things fail."""

from __future__ import annotations

import re
import time
from pathlib import Path

from agentrt_engine.cache import logs_dir

#: Log files kept; older ones are removed when a new one is opened.
_KEPT = 20

#: What SGLang writes when a stage of its start begins or ends, in order.
_STAGES = (
    ("importing SGLang", ""),
    ("loading the model", "server_args="),
    ("reading weights", "Load weight begin"),
    ("allocating the KV cache", "Load weight end"),
    ("starting the HTTP server", "Memory pool end"),
    ("warming up", "Application startup complete"),
)

#: What uvicorn writes when it cannot listen.
_LOST_PORT = "error while attempting to bind on address"

_LOG_PREFIX = re.compile(r"^\[[\d\- :.]+\]\s*")
_NOISE = (
    "Ignore import error",
    "SIGQUIT received",
    "Sleeping 5 seconds",
    "kill_process_tree",
    "No live scheduler",
    "Prefill batch,",
    "Decode batch,",
    "INFO:     ",  # uvicorn's lines, one per request
)


def new_log_path() -> Path:
    """A fresh file in the log folder; the oldest engine logs beyond twenty are removed."""
    folder = logs_dir()
    logs = sorted(folder.glob("engine-*.log"), key=lambda path: path.stat().st_mtime)
    for old in logs[: max(0, len(logs) - _KEPT + 1)]:
        old.unlink(missing_ok=True)
    return (
        folder
        / f"engine-{time.strftime('%Y%m%d-%H%M%S')}-{time.monotonic_ns() % 1_000_000:06d}.log"
    )


def stage(log: str) -> str:
    """The latest stage of the start that the log shows."""
    return next(name for name, mark in reversed(_STAGES) if mark in log)


def lost_port(log: str) -> bool:
    """Whether the HTTP server could not listen."""
    return _LOST_PORT in log


def last_words(log: str, lines: int = 8) -> str:
    """The lines that say why an engine ended: its last error, else its last lines."""
    kept = [
        line for line in log.splitlines() if line.strip() and not any(n in line for n in _NOISE)
    ]
    errors = [
        index
        for index, line in enumerate(kept)
        if re.match(r"^(\w+\.)*\w*(Error|Exception|Interrupt)\b", line)
        or line.startswith("agentrt:")
    ]
    if errors:
        kept = kept[: errors[-1] + 1][-3:]
    return "\n".join(_LOG_PREFIX.sub("", line)[:300] for line in kept[-lines:])
