"""Runs of `agentrt run` that are killed with SIGKILL at any time, and resumed to their end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from crash_points import WORDS, recorded
from crash_world import check_world, reply, turn_of

from agentrt.journal.runs import STATE_DIR_VARIABLE
from agentrt.journal.store import FILE_NAME
from agentrt_engine.wire.identity import PROGRAM_ID

AGENTRT = str(Path(sys.executable).with_name("agentrt"))
AGENTS = Path(__file__).with_name("crash_world.py")

WORKERS = 4

#: How long the model takes, at most, and a command may live before it is killed, seconds.
MODEL_S = 0.05
LIFE_S = (0.3, 2.0)

PATIENCE_S = 120.0


@dataclass
class Kills:
    """What was found.

    Attributes:
        kills: commands that were killed in the middle; runs: that were finished in the end.
        unknown: writes of which the model was told that nobody knows.
    """

    kills: int = 0
    runs: int = 0
    unknown: int = 0
    asked_again: int = 0
    defects: list[str] = field(default_factory=list)


class Model:
    """An OpenAI-compatible server whose replies depend on the prompt alone.

    Attributes:
        asked: requests by program and number of its turn.
    """

    def __init__(self, seed: int) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self._rng = random.Random(seed)
        self._lock = threading.Lock()

    def complete(self, program: str, body: dict[str, Any]) -> dict[str, Any]:
        """The body of an answer."""
        messages = body["messages"]
        with self._lock:
            self.asked[program, turn_of(messages)] += 1
            delay = self._rng.uniform(0, MODEL_S)
        time.sleep(delay)
        return {
            "id": "1",
            "choices": [{"message": {"content": reply(messages)}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5},
        }

    @contextmanager
    def served(self) -> Iterator[str]:
        """The URL at which it answers."""
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path == "/v1/models"
                self._answer({"data": [{"id": "model"}]} if found else {}, 200 if found else 404)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(model.complete(self.headers[PROGRAM_ID], body), 200)

            def _answer(self, body: dict[str, Any], status: int) -> None:
                content = json.dumps(body).encode()
                with suppress(ConnectionError):  # who asked was killed
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def kill_and_resume(most: int, seed: int) -> Kills:
    """Kill so many commands."""
    rng = random.Random(seed)
    model = Model(seed)
    found = Kills()
    with model.served() as url:
        while found.kills < most:
            with tempfile.TemporaryDirectory() as folder:
                _one_run(Path(folder), url, model, most, rng, found)
    found.asked_again = sum(times - 1 for times in model.asked.values())
    return found


def _one_run(
    folder: Path, url: str, model: Model, most: int, rng: random.Random, found: Kills
) -> None:
    names = rng.sample(WORDS, WORKERS)
    given = json.dumps({"names": names})
    begin = ["run", f"{AGENTS}:boss", "--url", url, "--input", given, "--json", "result.json"]
    resume = ["resume", "last", "--url", url, "--json", "result.json"]
    state = folder / "state"
    done = False
    while not done:
        journals = state.glob(f"runs/*/{FILE_NAME}")
        known = {key: model.asked[key] for path in journals for key in recorded(path.parent)}
        life_s = rng.uniform(*LIFE_S) if found.kills < most else None
        code, said = run_command(resume if known else begin, folder, state, life_s)
        for key, times in known.items():
            if model.asked[key] != times:
                found.defects.append(f"{key} was asked again")
        found.kills += code == -signal.SIGKILL
        if code not in (0, -signal.SIGKILL):
            found.defects.append(f"exit code {code}: {said}")
            return
        done = code == 0
    found.runs += 1
    result = json.loads((folder / "result.json").read_text())
    told = next(p["output"] for p in result["programs"] if p["label"] == "boss#1")
    defects, unknown = check_world(folder, names, told)
    found.defects += defects
    found.unknown += unknown


def run_command(
    arguments: list[str],
    folder: Path,
    state: Path,
    life_s: float | None = None,
    before_kill: Callable[[], None] = lambda: None,
) -> tuple[int, str]:
    """Run a command; its exit code and what it said.

    Args:
        arguments: of agentrt.
        folder: where it runs; state: where it keeps its journals.
        life_s: it is killed then; None: never.
        before_kill: called at the last moment.
    """
    process = subprocess.Popen(
        [AGENTRT, *arguments],
        cwd=folder,
        env={**os.environ, STATE_DIR_VARIABLE: str(state)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=life_s or PATIENCE_S)
    except subprocess.TimeoutExpired:
        before_kill()
        process.kill()
        said, _ = process.communicate()
    return process.returncode, said
