"""CPU time against size, for the inputs that were made to break the line: ``python -m tests.hostile.cost``.

Prints the tables of ``docs/limits.md`` and draws ``docs/limits.svg``. All limits are lifted, so that sizes far beyond
them show whether a step is linear in what it is given; the last table has them as they are by default.
"""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from svg_plot import Axis, Line, Panel, draw

from streamtag.events import dead_letters
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.model.bundle import read_bundle
from streamtag.model.normalise import Normalisation, normalise
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer
from streamtag.settings import EventsSettings

from . import dearest, generators
from .subject import Subject, active_release

SIZES = [1 << shift for shift in (10, 14, 18, 20, 22, 24)]
_HUGE = 1 << 30
Run = Callable[[], object]


class Case(NamedTuple):
    """One step on one kind of input.

    Attributes:
        step: what is measured.
        name: of the input.
        prepare: bytes of UTF-8 to the call that is timed.
    """

    step: str
    name: str
    prepare: Callable[[int], Run]


def _unlimited(**settings: object) -> Callable[[bytes], Run]:
    """A value to the call that decodes it, whatever its size."""
    limits = dict.fromkeys(("max_bytes", "max_values", "max_text_chars", "max_field_chars"), _HUGE)
    decoder = Decoder(EventsSettings.model_validate({**limits, **settings}))

    def prepare(value: bytes) -> Run:
        def run() -> None:
            with contextlib.suppress(Rejected):
                decoder.decode(value, key=None, headers=None, position=("content", 0, 0))

        return run

    return prepare


def _decoding() -> list[Case]:
    decode = _unlimited()

    def event(body: bytes) -> bytes:
        return b'{"id": "a", "text": "b", ' + body + b"}"

    inputs: dict[str, Callable[[int], bytes]] = {
        "long text": lambda n: event(b'"lang": "' + b"x" * n + b'"'),
        "escaped quotes": lambda n: event(b'"lang": "' + rb"\"" * (n // 2) + b'"'),
        "brackets in a string": lambda n: event(b'"lang": "' + b"[{" * (n // 2) + b'"'),
        "open brackets": lambda n: b"[" * n,
        "flat lists": lambda n: event(b'"x": [' + b"[]," * (n // 3) + b"1]"),
        "numbers": lambda n: event(b'"x": [' + b"1," * (n // 2) + b"1]"),
        "one number": lambda n: event(b'"features": {"x": ' + b"9" * n + b"}"),
        "keys": lambda n: event(b",".join(b'"%07d":1' % i for i in range(n // 12))),
        "the same key": lambda n: event(b",".join([b'"k":1'] * (n // 6))),
        "quotes": lambda n: b'"' * n,
        "backslashes": lambda n: b'"' + b"\\" * n,
        "not UTF-8 at the end": lambda n: event(b'"lang": "' + b"x" * n + b'\xff"'),
    }
    return [Case("decode", name, lambda n, make=make: decode(make(n))) for name, make in inputs.items()]  # type: ignore[misc]


def _mapping() -> list[Case]:
    decode = _unlimited(mapping=Path(__file__).with_name("joined.yaml"))
    items = {"numbers": b"1,", "fractions": b"0.12345,", "texts": b'"some words",', "empty lists": b"[],"}
    return [
        Case("map", f"joined {name}", lambda n, item=item: decode(b'{"list": [' + item * (n // len(item)) + b"1]}"))  # type: ignore[misc]
        for name, item in items.items()
    ]


_TEXTS = {
    "marks out of order": "\u0591\u05b1\u05b0",
    "marks in disguise": "\u0f73",
    "one letter, many marks": "\u0301\u0323",
    "U+FDFA (18 characters in NFKC)": "\ufdfa",
    "letters and marks": "a\u0323\u0301",
    "zero width": "\u200b\u200d",
    "look-alikes": "асе",
    "Hangul": "\u1100\u1161\u11a8",
    "emoji": "\U0001f600",
}


def _text(unit: str, n: int) -> str:
    return "a" + unit * (n // len(unit.encode()))


def _normalising() -> list[Case]:
    rules = Normalisation()

    def prepare(unit: str, n: int) -> Run:
        text = _text(unit, n)
        return lambda: normalise(text, rules)

    return [Case("normalise", name, lambda n, unit=unit: prepare(unit, n)) for name, unit in _TEXTS.items()]  # type: ignore[misc]


def _featurising() -> list[Case]:
    featuriser = Scorer(read_bundle(find_bundle("moderation", [])), batch=1).featuriser

    def prepare(unit: str, n: int) -> Run:
        text = _text(unit, n)
        return lambda: featuriser.features([text])

    units = {"plain text": "some words ", "marks out of order": "\u0591\u05b1\u05b0", "U+FDFA": "\ufdfa"}
    return [Case("featurise", name, lambda n, unit=unit: prepare(unit, n)) for name, unit in units.items()]  # type: ignore[misc]


def _setting_aside() -> list[Case]:
    rejected = Rejected(ErrorClass.TOO_LARGE, stage="decode")

    def prepare(n: int) -> Run:
        value, headers = b"x" * n, [("name", b"y")] * (n // 64)

        def run() -> object:
            return dead_letters.build(
                topic="content",
                partition=0,
                offset=0,
                timestamp_ms=0,
                key=None,
                value=value,
                headers=headers,
                rejected=rejected,
                release="1",
                worker="w",
                now_ms=0,
                max_bytes=4_194_304,
            )

        return run

    return [Case("dead letter", "value and headers", prepare)]


def cases() -> list[Case]:
    """All of them."""
    return [*_decoding(), *_mapping(), *_normalising(), *_featurising(), *_setting_aside()]


def seconds(case: Case, size: int, attempts: int = 3) -> float:
    """CPU seconds, best of a few attempts."""
    run, best = case.prepare(size), math.inf
    for _ in range(attempts):
        began = time.thread_time()
        run()
        best = min(best, time.thread_time() - began)
    return best


def table(found: Sequence[tuple[Case, Sequence[float]]]) -> str:
    """Markdown; milliseconds."""
    names = [_size(size) for size in SIZES]
    lines = [f"| step | input | {' | '.join(names)} |", f"|---|---|{'--:|' * len(SIZES)}"]
    lines += [f"| {c.step} | {c.name} | {' | '.join(_milliseconds(s) for s in times)} |" for c, times in found]
    return "\n".join(lines)


def dearest_table() -> str:
    """Markdown; milliseconds of the dearest records known, the whole way at the default limits, the dearest first."""
    release = active_release(find_bundle("moderation", []))
    subjects = {setup.name: Subject(setup, release) for setup in generators.SETUPS if setup.bundle == "given"}
    found = []
    for dear in dearest.known():
        subject = subjects[dear.setup]
        before = dict(subject.outcomes)
        took = min(subject.process([dear.attack]) for _ in range(3))
        outcome = next(name for name, n in subject.outcomes.items() if n > before.get(name, 0))
        found.append((took, f"| {dear.name} | `{outcome}` | {_milliseconds(took)} |"))
    return "\n".join(["| record | outcome | ms |", "|---|---|--:|", *(line for _, line in sorted(found, reverse=True))])


def _milliseconds(s: float) -> str:
    return f"{s * 1e3:.3g}" if s < 1 else f"{s * 1e3:.0f}"


_COLOURS = {
    "decode": "#1f77b4",
    "map": "#ff7f0e",
    "normalise": "#d62728",
    "featurise": "#2ca02c",
    "dead letter": "#9467bd",
}


def plot(found: Sequence[tuple[Case, Sequence[float]]]) -> str:
    """SVG, both axes logarithmic; a linear cost climbs as the dashed line does."""
    lines = [
        Line(list(zip(SIZES, times, strict=True)), _COLOURS[case.step], case.step, f"{case.step}: {case.name}")
        for case, times in found
    ]
    ideal = [(float(size), 1e-6 * size / SIZES[0]) for size in SIZES]
    x = Axis(SIZES[0], SIZES[-1], [(size, _size(size)) for size in SIZES], log=True)
    y = Axis(1e-6, 10, [(10.0**power, f"{10.0**power * 1e3:g} ms") for power in range(-6, 2)], log=True)
    return draw([Panel("CPU time against size", x, y, [*lines, Line(ideal, "black", dashed=True)], height=420)], 560)


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >> 20 else f"{size >> 10} KiB"


if __name__ == "__main__":
    measured = [(case, [seconds(case, size) for size in SIZES]) for case in cases()]
    print(table(measured), flush=True)
    print(dearest_table())
    Path("docs/limits.svg").write_text(plot(measured), encoding="utf-8")
