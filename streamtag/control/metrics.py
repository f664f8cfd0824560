"""What the control room needs of `streamtag.telemetry.metrics.Metrics`."""

from typing import Protocol

__all__ = ["MetricSink"]


class MetricSink(Protocol):
    """Counters, histograms and gauges by name."""

    def add(self, name: str, n: float = 1, **attributes: str | int) -> None:
        """Adds to a counter."""

    def record(self, name: str, value: float, **attributes: str | int) -> None:
        """Records one observation of a histogram."""

    def set(self, name: str, value: float, **attributes: str | int) -> None:
        """Sets a gauge."""

    def forget(self, name: str, **attributes: str | int) -> None:
        """Shows the series of a gauge that carry these attributes no more; all of them, where none are given."""
