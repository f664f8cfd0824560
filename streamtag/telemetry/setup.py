"""Starts metrics, traces, logs and the endpoint of a process, and stops them within a bounded time."""

import logging
import platform
import threading
import time
from collections.abc import Callable
from importlib.metadata import version

import confluent_kafka
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider, ObservableGauge
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from streamtag import __version__
from streamtag.settings import TelemetrySettings
from streamtag.telemetry.endpoint import Endpoint
from streamtag.telemetry.health import Health
from streamtag.telemetry.logs import OtelHandler, configure_logging
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.tracing import BatchTracer

# One attempt to reach the collector; exporters run in threads of their own with bounded queues.
_EXPORT_TIMEOUT_S = 5.0
# All last exports together, whatever the collector does: shutdown must fit the drain of a worker.
_CLOSE_BUDGET_S = 2.0
# Lag has a series per partition of a worker. The SDK's default of 2,000 attribute sets counts every partition the
# process has *ever* owned, so long-lived workers of a large group would run into it.
_SERIES_LIMITS: dict[type, int] = {ObservableGauge: 20_000}


class Telemetry:
    """The telemetry of one process; several can live side by side in a test."""

    def __init__(
        self,
        metrics: Metrics,
        health: Health,
        tracer: BatchTracer,
        endpoint: Endpoint | None,
        closers: list[Callable[[], None]],
    ) -> None:
        self.metrics = metrics
        self.health = health
        self.tracer = tracer
        self._endpoint = endpoint
        self._closers = closers

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of the endpoint, None when there is none."""
        return self._endpoint.address if self._endpoint else None

    def close(self) -> None:
        """Exports what is left, for at most two seconds, and closes the endpoint. Harmless when called twice."""
        closers, self._closers = self._closers, []
        threads = [threading.Thread(target=closer, name="telemetry-close", daemon=True) for closer in closers]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + _CLOSE_BUDGET_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def start_telemetry(settings: TelemetrySettings, *, role: str, instance: str, group: str = "") -> Telemetry:
    """Starts everything that ``settings`` ask for.

    Args:
        settings: endpoint, collector, sampling and log format.
        role: what this process is, e.g. ``tagger``.
        instance: unique name of this process within the role.
        group: its Kafka consumer group, for spans.

    Raises:
        SettingsError: the endpoint's address cannot be bound.
    """
    configure_logging(settings)
    health = Health()
    registry = CollectorRegistry()
    endpoint = None
    closers: list[Callable[[], None]] = []
    if settings.port is not None:
        endpoint = Endpoint(settings.host, settings.port, registry, health)
        closers.append(endpoint.close)
    resource = _resource(role, instance)

    meters = MeterProvider(_readers(settings, registry), resource, shutdown_on_exit=False)
    closers.append(meters.shutdown)
    metrics = Metrics(meters.get_meter("streamtag", __version__))
    _describe_process(metrics, role)

    tracer = BatchTracer()
    if settings.otlp_endpoint is not None:
        spans = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        spans.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(_url(settings.otlp_endpoint, "traces"), timeout=_EXPORT_TIMEOUT_S))
        )
        closers.append(spans.shutdown)
        tracer = BatchTracer(spans.get_tracer("streamtag", __version__), ratio=settings.trace_ratio, group=group)
        closers.append(_export_logs(settings.otlp_endpoint, resource))
    return Telemetry(metrics, health, tracer, endpoint, closers)


def _readers(settings: TelemetrySettings, registry: CollectorRegistry) -> list[MetricReader]:
    readers: list[MetricReader] = []
    if settings.port is not None:
        # Memory, CPU, descriptors and collector pauses under their usual Prometheus names.
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        readers.append(
            PrometheusMetricReader(scope_info_enabled=False, registry=registry, cardinality_limits=_SERIES_LIMITS)
        )
    if settings.otlp_endpoint is not None:
        exporter = OTLPMetricExporter(_url(settings.otlp_endpoint, "metrics"), timeout=_EXPORT_TIMEOUT_S)
        readers.append(PeriodicExportingMetricReader(exporter, cardinality_limits=_SERIES_LIMITS))
    return readers


def _export_logs(endpoint: str, resource: Resource) -> Callable[[], None]:
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    provider.add_log_record_processor(
        BatchLogRecordProcessor(OTLPLogExporter(_url(endpoint, "logs"), timeout=_EXPORT_TIMEOUT_S))
    )
    handler = OtelHandler(provider.get_logger("streamtag", __version__))
    logging.getLogger().addHandler(handler)

    def close() -> None:
        logging.getLogger().removeHandler(handler)
        provider.shutdown()

    return close


def _resource(role: str, instance: str) -> Resource:
    """Who sends this; OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME have the last word."""
    return Resource.create(
        {
            "service.namespace": "streamtag",
            "service.name": f"streamtag-{role}",
            "service.instance.id": instance,
            "service.version": __version__,
        }
    ).merge(OTELResourceDetector().detect())


def _describe_process(metrics: Metrics, role: str) -> None:
    metrics.set(
        "streamtag.build.info",
        1,
        version=__version__,
        role=role,
        python=platform.python_version(),
        onnxruntime=version("onnxruntime"),
        librdkafka=confluent_kafka.libversion()[0],
    )
    metrics.set("streamtag.process.start_time", time.time())


def _url(endpoint: str, signal: str) -> str:
    return f"{endpoint.rstrip('/')}/v1/{signal}"
