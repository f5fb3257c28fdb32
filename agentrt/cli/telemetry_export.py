"""Spans and metrics of a command, sent where the `OTEL_*` variables say."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol, runtime_checkable

from opentelemetry.metrics import get_meter_provider
from opentelemetry.trace import get_tracer_provider

_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_SERVICE = "OTEL_SERVICE_NAME"

_log = logging.getLogger("agentrt")


@runtime_checkable
class _Stoppable(Protocol):
    """A provider of OpenTelemetry's SDK; one of the API alone has nothing to stop."""

    def shutdown(self) -> None: ...


@contextmanager
def exported_telemetry() -> Iterator[None]:
    """Set OpenTelemetry's SDK up if the environment asks for it, and send all at the end.

    Telemetry is never worth a run: what is missing or wrong is said in a warning.
    """
    exporters = exporters_of(os.environ)
    if not exporters:
        yield
        return
    os.environ.update(exporters | unsaid(os.environ))
    # The agent's file, or `opentelemetry-instrument`, may have set it up already.
    if not isinstance(get_tracer_provider(), _Stoppable):
        _configure()
    try:
        yield
    finally:
        for provider in (get_tracer_provider(), get_meter_provider()):
            if isinstance(provider, _Stoppable):
                provider.shutdown()


def exporters_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The exporters that the environment asks for, by the variables that name them.

    An address of OTLP asks for its exporter where none is named.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return {}
    chosen = {}
    for kind in ("TRACES", "METRICS"):
        addresses = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{kind}_ENDPOINT")
        default = "otlp" if any(environment.get(name) for name in addresses) else "none"
        name = f"OTEL_{kind}_EXPORTER"
        exporter = environment.get(name, "").strip() or default
        if exporter.lower() != "none":
            chosen[name] = exporter
    return chosen


def unsaid(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that the environment leaves open, with values of ours.

    OTLP goes over HTTP, as OpenTelemetry's specification has it; the SDK would take gRPC.
    """
    values = {}
    if not environment.get(_PROTOCOL):
        values[_PROTOCOL] = "http/protobuf"
    named = "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not named and not environment.get(_SERVICE):
        values[_SERVICE] = "agentrt"
    return values


def _configure() -> None:
    try:
        sdk = import_module("opentelemetry.sdk._configuration")
        sdk._OTelSDKConfigurator().configure()
    except (ImportError, RuntimeError, ValueError) as error:
        _log.warning(
            "no spans and metrics are exported, although variables OTEL_… ask for it: %s; "
            "pip install 'agentrt[otel]' brings the SDK, console and otlp",
            error,
        )
