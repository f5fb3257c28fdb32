"""OpenTelemetry's SDK in memory: what a run exports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Providers(TypedDict):
    """Arguments of `connect`."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider


class Exported:
    """What was exported.

    Attributes:
        providers: arguments of `connect`.
    """

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.providers = Providers(tracer_provider=tracers, meter_provider=meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    def metrics(self) -> dict[str, Metric]:
        """By name."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def text(self) -> str:
        """All that was exported, as text."""
        spans = "".join(span.to_json() for span in self.spans)
        return spans + "".join(metric.to_json() for metric in self.metrics().values())


@contextmanager
def exported() -> Iterator[Exported]:
    """Providers for a test, and what they export."""
    telemetry = Exported()
    yield telemetry
    telemetry.providers["tracer_provider"].shutdown()
    telemetry.providers["meter_provider"].shutdown()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Attributes of a span."""
    return dict(span.attributes or {})


def points(metric: Metric) -> list[tuple[dict[str, Any], Any]]:
    """Attributes and point of each series of a metric."""
    return [(dict(point.attributes or {}), point) for point in metric.data.data_points]
