"""The bundles that come with the package; they are as trustworthy as the code beside them."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "bundles"


def is_shipped(path: Path) -> bool:
    """Whether ``path`` lies in the package, wherever links lead."""
    return path.resolve().is_relative_to(SHIPPED.resolve())
