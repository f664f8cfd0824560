"""What a campaign found: one JSON document, and a table for people."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .campaign import Plan, Result


def compose(result: Result, plan: Plan, guided: Mapping[str, Any] | None) -> dict[str, Any]:
    """The document. ``guided`` is what the coverage-guided turn reported, if there was one."""
    kinds = [finding.kind for finding in result.findings]
    generators = {
        name: {
            "inputs": progress.inputs,
            "cpu_us_per_input": round(progress.seconds / max(1, progress.inputs) * 1e6, 1),
            "slowest_batch_cpu_ms": round(progress.slowest_batch_s * 1e3, 1),
            "slowest_batch": progress.slowest_batch,
            "slowest_input_cpu_ms": round(progress.slowest_input_s * 1e3, 1),
        }
        for name, progress in result.by_generator.items()
    }
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "bundles": {name: "/".join(bundle.parts[-2:]) for name, bundle in plan.bundles.items()},
        "seed": plan.seed,
        "jobs": plan.jobs,
        "seconds": round(result.seconds, 1),
        "inputs": result.inputs,
        "deaths": kinds.count("death"),
        "hangs": kinds.count("hang"),
        "unaccounted": kinds.count("unaccounted"),
        "slowest_input_cpu_ms": max(figures["slowest_input_cpu_ms"] for figures in generators.values()),
        "outcomes": dict(sorted(result.outcomes.items(), key=lambda item: -item[1])),
        "rss_mb": result.rss_mb,
        "generators": generators,
        "findings": [finding._asdict() for finding in result.findings[:100]],
        "coverage_guided": guided,
    }


def passed(found: Mapping[str, Any]) -> bool:
    """Nothing died, hung or went missing, in either part."""
    guided = found["coverage_guided"]
    return not found["findings"] and (guided is None or not guided["findings"])


def table(found: Mapping[str, Any]) -> str:
    """For a terminal."""
    lines = [f"{'generator':<22}{'inputs':>12}{'CPU µs each':>13}{'slowest, CPU':>15}"]
    for name, figures in found["generators"].items():
        slowest = f"{figures['slowest_input_cpu_ms']:.1f} ms"
        lines.append(f"{name:<22}{figures['inputs']:>12,}{figures['cpu_us_per_input']:>13}{slowest:>15}")
    guided = found["coverage_guided"]
    if guided:
        lines.append(f"{'coverage-guided':<22}{guided['inputs']:>12,}   edges covered: {guided['edges']}")
    lines.append(
        f"{found['inputs']:,} inputs in {found['seconds']:.0f} s (seed {found['seed']}): {found['deaths']} deaths, "
        f"{found['hangs']} hangs, {found['unaccounted']} unaccounted; RSS {found['rss_mb']}"
    )
    return "\n".join(lines)
