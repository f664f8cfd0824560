"""What each label does, as metrics of the app: its rate in the newest windows, and how it behaves differently."""

from collections.abc import Mapping

from streamtag.domain.behaviour import Signal
from streamtag.stats.comparison import comparisons
from streamtag.stats.label_figures import label_figures
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import SIZES, WindowDocument, hour_before
from streamtag.telemetry.metrics import Metrics

__all__ = ["LabelMetrics"]

_SIZE = "5m"
"""Of the windows whose behaviour is compared with the full hour before, each once, when the next one has begun."""

_SIGNALS = ("streamtag.label.signal", "streamtag.label.psi", "streamtag.label.psi.critical")


class LabelMetrics:
    """For one thread at a time.

    Args:
        metrics: where they go.
        model: has the windows of before.
    """

    def __init__(self, metrics: Metrics, model: ReadModel) -> None:
        self._metrics = metrics
        self._model = model
        self._shown: Mapping[str, WindowDocument] = {}
        self._compared_ms: int | None = None  # start of the window that began when signals were last looked for

    def show(self, latest: Mapping[str, WindowDocument]) -> None:
        """Shows what the newest window of each size says.

        Raises:
            UnavailableError: Redis does not answer; signals are looked for the next time.
        """
        for size, document in latest.items():
            if document is self._shown.get(size):
                continue
            self._metrics.forget("streamtag.label.rate", window=size)  # those of labels that another bundle had
            for one in label_figures(document):
                self._metrics.set("streamtag.label.rate", one.rate or 0.0, label=one.label, window=size)
        self._shown = latest
        newest = latest.get(_SIZE)
        if newest is not None and newest.start_ms != self._compared_ms:
            self._show_signals(newest.start_ms - SIZES[_SIZE])
            self._compared_ms = newest.start_ms

    def hide(self) -> None:
        """Shows nothing any more, until it is given windows again."""
        for name in ("streamtag.label.rate", *_SIGNALS):
            self._metrics.forget(name)
        self._shown, self._compared_ms = {}, None

    def _show_signals(self, start_ms: int) -> None:
        window, hour = self._model.read([(_SIZE, start_ms), ("1h", hour_before(start_ms))])
        found: list[Signal] = [] if window is None or hour is None else comparisons(window, hour)
        for name in _SIGNALS:
            self._metrics.forget(name)
        for signal in found:
            if signal.name == "score_drift" and signal.critical is not None:
                [label] = signal.labels
                self._metrics.set("streamtag.label.psi", signal.value, label=label)
                self._metrics.set("streamtag.label.psi.critical", signal.critical, label=label)
            for label in (signal.labels or ("",)) if signal.raised else ():
                self._metrics.set("streamtag.label.signal", 1, label=label, signal=signal.name)
