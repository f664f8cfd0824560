"""Every metric: name, kind, unit, attributes, what it means, and what to do about it.

Names are OpenTelemetry's (dotted, no unit); Prometheus sees them translated (`prometheus_name`). ``docs/metrics.md``
is generated from these tables. Attribute values come from closed sets or from configuration (labels, topics,
partitions), never from content: the SDK folds whatever exceeds its limit of attribute sets into one overflow point.
"""

from streamtag.telemetry.catalog import control, loop, process, stats, tagger
from streamtag.telemetry.catalog.metric import Metric

__all__ = ["METRICS", "TABLES", "Metric"]

TABLES = (process, loop, tagger, control, stats)
"""Modules: each a table ``METRICS`` of one part of streamtag, which its docstring names."""

METRICS: tuple[Metric, ...] = tuple(metric for table in TABLES for metric in table.METRICS)
