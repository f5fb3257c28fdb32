"""`agentrt run` with the variables of OpenTelemetry: where spans and metrics go."""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agentrt.cli.telemetry_export import exporters_of, unsaid
from agentrt.testing import answer, call
from tests.support.processes import Command, finished
from tests.support.scripted_engine import ScriptedEngine

AGENTS = '''
import anyio
from agentrt import Context, agent, tool


@tool
async def forever() -> None:
    """Wait."""
    print("waiting", flush=True)
    await anyio.sleep_forever()


@agent(tools=[forever])
async def worker(ctx: Context) -> str:
    """You work."""
    return await ctx.loop("canary")
'''

CONSOLE = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"}

#: A Python that has no SDK of OpenTelemetry.
WITHOUT_SDK = """
import sys

sys.modules["opentelemetry.sdk"] = None
"""


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands run; holds agents.py."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    (home / "agents.py").write_text(AGENTS)
    return home


class Collector:
    """What an OTLP/HTTP receiver got."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        self.services: set[str] = set()

    def take(self, path: str, body: bytes) -> None:
        """One export."""
        if path == "/v1/traces":
            traces = ExportTraceServiceRequest.FromString(body)
            for resource in traces.resource_spans:
                self._note(resource.resource.attributes)
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        else:
            assert path == "/v1/metrics"
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self._note(measured.resource.attributes)
                self.metrics += [one for scope in measured.scope_metrics for one in scope.metrics]

    def _note(self, attributes: Any) -> None:
        self.services |= {a.value.string_value for a in attributes if a.key == "service.name"}


@contextmanager
def collector() -> Iterator[Collector]:
    """A receiver on loopback."""
    got = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            got.take(self.path, body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        got.url = f"http://127.0.0.1:{server.server_port}"
        yield got
        server.shutdown()
        thread.join()


def printed_objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects among what was printed."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := text.find("{\n", at)) >= 0:
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found


def test_console_exporters_print_the_trace_and_the_metrics_of_a_run(folder: Path) -> None:
    with ScriptedEngine([[answer("yes")], [answer("no")]]) as engine:
        arguments = ("run", "agents.py", "-n", "2", "--url", engine.url)
        done = finished(*arguments, folder=folder, **CONSOLE)
        sent = [request.headers["traceparent"].split("-")[1] for request in engine.requests]
    assert done.code == 0, done.err
    *spans, metrics = printed_objects(done.out)
    names = ["chat scripted"] * 2 + ["invoke_agent worker"] * 2 + ["invoke_workflow worker"]
    assert sorted(span["name"] for span in spans) == names
    assert {span["context"]["trace_id"] for span in spans} == {f"0x{trace}" for trace in sent}
    [resource] = metrics["resource_metrics"]
    assert resource["resource"]["attributes"]["service.name"] == "agentrt"
    measured = {
        metric["name"] for scope in resource["scope_metrics"] for metric in scope["metrics"]
    }
    assert {"gen_ai.invoke_workflow.duration", "gen_ai.client.inference.duration"} <= measured
    assert "canary" not in json.dumps([spans, metrics])


def test_the_address_of_a_collector_is_enough(folder: Path) -> None:
    with ScriptedEngine([answer("yes")]) as engine, collector() as got:
        arguments = ("run", "agents.py", "--url", engine.url)
        done = finished(*arguments, folder=folder, OTEL_EXPORTER_OTLP_ENDPOINT=got.url)
    assert (done.code, "WARNING" in done.err) == (0, False), done.err
    names = sorted(span.name for span in got.spans)
    assert names == ["chat scripted", "invoke_agent worker", "invoke_workflow worker"]
    assert "gen_ai.invoke_agent.duration" in {metric.name for metric in got.metrics}
    assert got.services == {"agentrt"}


def test_an_interrupted_run_and_its_resumption_are_exported(folder: Path) -> None:
    with ScriptedEngine([call("forever")]) as engine, collector() as got:
        variables = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{got.url}/v1/traces"}
        arguments = ("run", "agents.py", "--url", engine.url)
        with Command(*arguments, folder=folder, **variables) as command:
            command.until("waiting")
            command.send(signal.SIGINT)
            done = command.done()
        assert done.code == 130, done.err
    ended = {span.name: span for span in got.spans}
    assert set(ended) == {
        "chat scripted",
        "execute_tool forever",
        "invoke_agent worker",
        "invoke_workflow worker",
    }
    reasons = [a.value.string_value for a in ended["invoke_agent worker"].attributes]
    assert "cancelled" in reasons
    assert not got.metrics

    with ScriptedEngine([answer("yes")]) as engine, collector() as got:
        (folder / "agents.py").write_text(AGENTS.replace("await anyio.sleep_forever()", "pass"))
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": got.url, "OTEL_SERVICE_NAME": "mine"}
        arguments = ("resume", "last", "--url", engine.url)
        done = finished(*arguments, folder=folder, **variables)
    assert done.code == 0, done.err
    assert got.services == {"mine"}
    assert "execute_tool forever" in {span.name for span in got.spans}


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"])
def test_an_exporter_that_does_not_exist_is_a_warning(folder: Path, variable: str) -> None:
    with ScriptedEngine([answer("yes")]) as engine:
        arguments = ("run", "agents.py", "--url", engine.url)
        done = finished(*arguments, folder=folder, **{variable: "consol"})
    assert done.code == 0
    assert done.out.startswith("worker#1 finished: yes\n")
    warning = " ".join(done.err.split())
    assert "no spans and metrics are exported, although variables OTEL_… ask for it" in warning
    assert "'consol' not found" in warning


def test_without_the_sdk_a_warning_says_what_to_install(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text(WITHOUT_SDK)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    with ScriptedEngine([answer("yes")]) as engine:
        arguments = ("run", "agents.py", "--url", engine.url)
        done = finished(*arguments, folder=folder, PYTHONPATH=path, **CONSOLE)
    assert (done.code, "chat scripted" in done.out) == (0, False)
    assert "pip install 'agentrt[otel]'" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, {}),
        ({"OTEL_TRACES_EXPORTER": "console"}, {"TRACES": "console"}),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": " None "}, {}),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_METRICS_EXPORTER": "none"},
            {"TRACES": "otlp"},
        ),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, {"METRICS": "otlp"}),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://x"}, {}),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "console,otlp"},
            {"TRACES": "console,otlp", "METRICS": "otlp"},
        ),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, {}),
    ],
)
def test_what_variables_ask_for(environment: dict[str, str], exporters: dict[str, str]) -> None:
    expected = {f"OTEL_{kind}_EXPORTER": name for kind, name in exporters.items()}
    assert exporters_of(environment) == expected


def test_what_is_said_is_kept() -> None:
    assert unsaid({}) == {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "agentrt",
    }
    said = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=mine",
    }
    assert unsaid(said) == {}
