"""What a peer's process is asked and answers, a line of JSON each.

Standard library only: it runs in the peer's own environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Generate = Callable[[list[list[int]], int], None]


def serve(version: str, generate: Generate) -> None:
    """Answer until standard input ends: how long each batch of prompts took.

    Args:
        generate: takes prompts as token ids and generates so many tokens greedily for each of
            them, whatever they are.
    """
    say({"version": version})
    for line in sys.stdin:
        request = json.loads(line)
        started = time.perf_counter()
        generate(request["prompts"], request["new"])
        say({"seconds": time.perf_counter() - started})


def say(message: dict[str, Any]) -> None:
    """Write past whatever the engine prints itself."""
    os.write(ANSWERS, json.dumps(message).encode() + b"\n")


#: The real standard output; what engines print goes to standard error.
ANSWERS = os.dup(1)
os.dup2(2, 1)
