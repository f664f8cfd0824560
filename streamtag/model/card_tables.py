"""Tables and numbers of model cards, in Markdown."""

from collections.abc import Sequence
from typing import Any

__all__ = ["interval", "number", "table"]


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; a bar in a cell does not end it."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|").strip() for cell in row) + " |" for row in lines)


def number(value: Any, decimals: int = 4) -> str:
    """A number in short; nothing for nothing."""
    if value is None:
        return ""
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)


def interval(figure: dict[str, Any] | None, sign: str = "", decimals: int = 3) -> str:
    """A figure with its interval, where it has one."""
    if figure is None or figure["value"] is None:
        return ""
    value = f"{figure['value']:{sign}.{decimals}f}"
    if figure.get("low") is None or figure.get("high") is None:
        return value
    return f"{value} ({figure['low']:{sign}.{decimals}f} … {figure['high']:{sign}.{decimals}f})"
