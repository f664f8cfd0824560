"""One row of the tables of metrics, and the buckets of their histograms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["counter", "histogram", "gauge"]

# Seconds, from a quick local commit to the longest transaction timeout in use.
DURATION = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Seconds, from one commit interval to an hour of backlog.
LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
SIZE = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0)


@dataclass(frozen=True)
class Metric:
    """One row of the table."""

    name: str
    kind: Kind
    unit: str
    """UCUM; ``{…}`` and the empty unit are left out of the Prometheus name."""
    meaning: str
    action: str
    """What a person does when it looks wrong."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name to its known values; an empty tuple where configuration decides them."""
    buckets: tuple[float, ...] = ()
    """Upper bounds, histograms only."""

    @property
    def prometheus_name(self) -> str:
        """The name a Prometheus query uses (of a histogram, without ``_bucket``, ``_sum`` and ``_count``)."""
        name = self.name.replace(".", "_")
        name += {"s": "_seconds", "By": "_bytes"}.get(self.unit, "")
        return name + ("_total" if self.kind == "counter" else "")
