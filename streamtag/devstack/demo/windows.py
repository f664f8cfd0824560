"""The newest window of each label, as `streamtag stats show` reads it."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamtag.stats.label_figures import label_figures, traffic
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import SIZES, WindowDocument, start_of

__all__ = ["LabelWindow", "WindowState", "read_windows"]

_DAY_MS = SIZES["1d"]


@dataclass(frozen=True)
class LabelWindow:
    """One label in the newest window: its alert rate, and between which rates it surely lies."""

    rate: float | None
    surely: tuple[float, float]


@dataclass(frozen=True)
class WindowState:
    """What the windows hold.

    Attributes:
        start_ms: of the newest window of a minute, Unix milliseconds.
        events: in it.
        labels: in it.
        all_events: in all windows since the demo began.
        exact: no source position was counted twice in them, or is known to be missing.
    """

    start_ms: int
    events: int
    labels: Mapping[str, LabelWindow]
    all_events: int
    exact: bool


def read_windows(model: ReadModel, now_ms: int) -> WindowState | None:
    """What they hold now; None before the first pane.

    Raises:
        UnavailableError: Redis does not answer in time.
    """
    minute, day = start_of("1m", now_ms), start_of("1d", now_ms)
    places = [("1m", minute), ("1m", minute - SIZES["1m"]), ("1d", day), ("1d", day - _DAY_MS)]
    this_minute, last_minute, *days = model.read(places)
    newest = this_minute or last_minute
    if newest is None:
        return None
    counted = [one for one in days if one is not None]
    labels = {one.label: LabelWindow(one.rate, one.interval()) for one in label_figures(newest)}
    return WindowState(
        newest.start_ms, _events(newest), labels, sum(map(_events, counted)), all(one.exact for one in counted)
    )


def _events(window: WindowDocument) -> int:
    return sum(cell.events for cell in filter(traffic, window.cells))
