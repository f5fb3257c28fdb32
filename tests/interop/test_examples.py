"""The examples for other frameworks, in an environment of their own, on a server of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentrt_engine.wire.hints import HINTS_HEADER, HINTS_PATH, Hint, HintKind
from agentrt_engine.wire.identity import PROGRAM_ID
from tests.support.loopback_app import served as serving
from tests.support.scripted_engine import INFO

ROOT = Path(__file__).parents[2]
ANSWER = "It is sunny in Paris."


class ToolCallingEngine:
    """Asks for the weather in Paris, and then for nothing more.

    Attributes:
        requests: headers and messages of all chat requests.
        hints: in the order in which they came.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], list[dict[str, Any]]]] = []
        self.hints: list[Hint] = []
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/agentrt/info", self._info),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route(HINTS_PATH, self._hint, methods=["POST"]),
            ]
        )

    async def _models(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

    async def _info(self, _request: Request) -> Response:
        return JSONResponse(INFO.to_builtins())

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append((dict(request.headers), body["messages"]))
        message: dict[str, Any] = {"role": "assistant", "content": ANSWER}
        if body["messages"][-1]["role"] != "tool":
            call = {"name": "weather", "arguments": json.dumps({"city": "Paris"})}
            calls = [{"id": "call-1", "type": "function", "function": call}]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
        reason = "stop" if message["content"] else "tool_calls"
        return JSONResponse(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "scripted",
                "choices": [{"index": 0, "message": message, "finish_reason": reason}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
        )

    async def _hint(self, request: Request) -> Response:
        self.hints.append(msgspec.json.decode(await request.body(), type=Hint))
        return JSONResponse([])


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has agentrt with its extra `interop`."""
    folder = tmp_path_factory.mktemp("interop") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    found = folder / "bin" / "python"
    install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", f"{ROOT}[interop]"]
    subprocess.run([found, *install], check=True)
    return found


@pytest.fixture
def engine() -> Iterator[tuple[str, ToolCallingEngine]]:
    engine = ToolCallingEngine()
    with serving(engine.app) as url:
        yield url, engine


def run_example(python: Path, name: str, url: str) -> str:
    script = ROOT / "examples" / "interop" / name
    done = subprocess.run(
        [python, script, url], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def check_requests(engine: ToolCallingEngine) -> str:
    """Two turns of one program; its id."""
    (first, asked), (second, told) = engine.requests
    program = first[PROGRAM_ID.lower()]
    assert second[PROGRAM_ID.lower()] == program
    assert len(told) > len(asked)
    assert told[-1]["content"] == "sunny in Paris"
    return program


def test_the_openai_client_needs_one_header(
    python: Path, engine: tuple[str, ToolCallingEngine]
) -> None:
    url, served = engine
    assert run_example(python, "openai_client.py", url) == ANSWER
    check_requests(served)
    # The engine infers what the tools do.
    assert HINTS_HEADER.lower() not in served.requests[0][0]
    assert not served.hints


@pytest.mark.parametrize("name", ["openai_agents_sdk.py", "pydantic_ai_agent.py"])
def test_a_framework_tells_when_its_tools_start_and_end(
    python: Path, engine: tuple[str, ToolCallingEngine], name: str
) -> None:
    url, served = engine
    assert run_example(python, name, url) == ANSWER
    program = check_requests(served)
    assert served.requests[0][0][HINTS_HEADER.lower()] == "explicit"
    assert [(hint.kind, hint.tool, hint.call_id) for hint in served.hints] == [
        (HintKind.TOOL_STARTED, "weather", "call-1"),
        (HintKind.TOOL_FINISHED, "weather", "call-1"),
        (HintKind.ENDED, None, None),
    ]
    assert {hint.program_id for hint in served.hints} == {program}
