"""How often the champion tags each label, as measured: what an absolute tolerance is checked against."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streamtag.stats.label_figures import LabelFigures, label_figures, traffic
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import SIZES, WindowDocument, start_of

__all__ = ["BaseRates", "measured"]


@dataclass(frozen=True)
class BaseRates:
    """What one window says of the champion.

    Attributes:
        window: it was taken from.
        figures: of each label that the champion scored there.
    """

    window: WindowDocument
    figures: Mapping[str, LabelFigures]

    def rates(self, labels: Iterable[str]) -> dict[str, float]:
        """Alerts per event of those labels that were tagged at all."""
        found = {label: self.figures[label].rate for label in labels if label in self.figures}
        return {label: rate for label, rate in found.items() if rate}


def measured(model: ReadModel, release: int, now_ms: int) -> BaseRates | None:
    """From the last full hour, or else this one so far, or yesterday, or today: the first in which it decided.

    Args:
        model: the windows.
        release: the champion's number. Shadow scores do not count.
        now_ms: Unix milliseconds.

    Returns:
        None where no event that it decided was counted in any of them.
    """
    hour, day = start_of("1h", now_ms), start_of("1d", now_ms)
    places = [("1h", hour - SIZES["1h"]), ("1h", hour), ("1d", day - SIZES["1d"]), ("1d", day)]
    for window in model.read(places):
        figures = (
            [] if window is None else label_figures(window, lambda cell: traffic(cell) and cell.release == release)
        )
        if window is not None and any(one.events for one in figures):
            return BaseRates(window, {one.label: one for one in figures})
    return None
