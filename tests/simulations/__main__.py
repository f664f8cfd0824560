"""``python -m tests.simulations``: what `make simulate` runs."""

import math
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from . import report

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    runs: Annotated[int, typer.Option(min=100, help="Experiments of every case.")] = 4_000,
    seed: Annotated[int, typer.Option(help="Makes the same figures again.")] = 1,
    path: Annotated[Path, typer.Option("--report", help="Where the figures go.")] = Path("reports/simulations.json"),
) -> None:
    """Simulates experiments; fails where verdicts are wrong more often than promised, or later than they should be."""
    found = report.run(runs, seed, lambda text: print(text, flush=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(_finite(found)), indent=2) + b"\n")
    print(f"\n{found['cpu_s']} s of CPU; written to {path}")
    for line in found["broken"]:
        print(f"not as promised: {line}")
    sys.exit(1 if found["broken"] else 0)


def _finite(value: Any) -> Any:
    """The same with infinite and long figures as JSON has them: null, and six digits."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


if __name__ == "__main__":
    app()
