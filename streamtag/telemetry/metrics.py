"""Recording metrics by name, checked against the table in `streamtag.telemetry.catalog`.

Called a handful of times per *batch*: a counter with attributes costs a few microseconds.
"""

import itertools
import threading
from collections.abc import Iterable
from functools import partial

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader

from streamtag.telemetry.catalog import METRICS, Metric

__all__ = ["METRICS", "InMemoryMetrics", "Metric", "Metrics"]

Attribute = str | int
_Series = tuple[tuple[str, Attribute], ...]


class Metrics:
    """The instruments of one process (or one test). Thread-safe.

    Counters whose attribute values are all known in advance export 0 from the start, so that a rate exists before
    the first error does. Gauges export what was last set, until `forget` removes it: a lag of a partition that
    another worker owns by now would be a lie.
    """

    def __init__(self, meter: Meter) -> None:
        self._metrics = {metric.name: metric for metric in METRICS}
        self._attributes = {metric.name: frozenset(metric.attributes) for metric in METRICS}
        self._lock = threading.Lock()
        self._gauges: dict[str, dict[_Series, float]] = {}
        self._counters = {
            m.name: meter.create_counter(m.name, m.unit, m.meaning) for m in METRICS if m.kind == "counter"
        }
        self._histograms = {
            m.name: meter.create_histogram(m.name, m.unit, m.meaning, explicit_bucket_boundaries_advisory=m.buckets)
            for m in METRICS
            if m.kind == "histogram"
        }
        for metric in METRICS:
            if metric.kind == "gauge":
                self._gauges[metric.name] = {}
                observe = partial(self._observe, metric.name)
                meter.create_observable_gauge(metric.name, [observe], metric.unit, metric.meaning)
            elif metric.kind == "counter":
                for attributes in _expected(metric):
                    self._counters[metric.name].add(0, attributes)

    @staticmethod
    def in_memory() -> "InMemoryMetrics":
        """Metrics that a test can read back."""
        return InMemoryMetrics()

    def add(self, name: str, n: float = 1, **attributes: Attribute) -> None:
        """Adds ``n`` (not negative) to a counter.

        Raises:
            KeyError: no counter of this name in the table.
            ValueError: attributes other than the declared ones.
        """
        counter = self._counters[name]
        self._check(name, attributes)
        counter.add(n, attributes)

    def record(self, name: str, value: float, **attributes: Attribute) -> None:
        """Records one observation in a histogram; raises as `add`."""
        histogram = self._histograms[name]
        self._check(name, attributes)
        histogram.record(value, attributes)

    def set(self, name: str, value: float, **attributes: Attribute) -> None:
        """Sets a gauge; raises as `add`."""
        gauge = self._gauges[name]
        self._check(name, attributes)
        with self._lock:
            gauge[_series(attributes)] = value

    def forget(self, name: str, **attributes: Attribute) -> None:
        """Stops exporting the series of a gauge that carry these attributes (all of them, when none are given)."""
        gauge = self._gauges[name]
        wanted = set(attributes.items())
        with self._lock:
            for series in [series for series in gauge if wanted <= set(series)]:
                del gauge[series]

    def _check(self, name: str, attributes: dict[str, Attribute]) -> None:
        if attributes.keys() != self._attributes[name]:
            declared = ", ".join(sorted(self._attributes[name])) or "none"
            raise ValueError(f"metric {name} has the attributes {declared}, not {', '.join(attributes) or 'none'}")

    def _observe(self, name: str, _options: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            return [Observation(value, dict(series)) for series, value in self._gauges[name].items()]


class InMemoryMetrics(Metrics):
    """`Metrics` with their own reader, for tests."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        super().__init__(self._provider.get_meter("streamtag"))

    def value(self, name: str, **attributes: Attribute) -> float:
        """Sum of a counter, number of observations of a histogram, or value of a gauge.

        Adds up all series that carry ``attributes``; 0 where none does.

        Raises:
            KeyError: no metric of this name in the table.
        """
        if name not in self._metrics:
            raise KeyError(name)
        return sum(value for series, value in self.series(name).items() if set(attributes.items()) <= set(series))

    def series(self, name: str) -> dict[_Series, float]:
        """All series of one metric, sorted attributes to value (of a histogram: the number of observations)."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        found: dict[_Series, float] = {}
        for resource in data.resource_metrics:
            for metric in itertools.chain.from_iterable(scope.metrics for scope in resource.scope_metrics):
                if metric.name != name:
                    continue
                for point in metric.data.data_points:
                    value = point.count if isinstance(point, HistogramDataPoint) else point.value  # type: ignore[union-attr]
                    found[_series(dict(point.attributes or {}))] = value  # type: ignore[arg-type]
        return found


def _series(attributes: dict[str, Attribute]) -> _Series:
    return tuple(sorted(attributes.items()))


def _expected(metric: Metric) -> Iterable[dict[str, Attribute]]:
    """Attribute sets known before anything happens; none where configuration decides one of them."""
    names = list(metric.attributes)
    return (dict(zip(names, values, strict=True)) for values in itertools.product(*metric.attributes.values()))
