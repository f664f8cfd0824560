"""What a job will do: which slices of which files, cut into units of like size, each of which becomes one part.

The plan is written before any work. A run that resumes takes it as it stands, so that a unit means the same rows.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from streamtag import strict_json
from streamtag.batch.csv_files import header_of
from streamtag.batch.lines import blocks, stretches
from streamtag.batch.parquet_files import groups_of
from streamtag.batch.places import FileFormat, Source, open_source
from streamtag.batch.rows import TEXT_FIELDS, Slice
from streamtag.control.breakers import ActiveBreakers
from streamtag.errors import RefusedError, StreamtagError

__all__ = ["Plan", "Unit", "differences", "make_plan"]

FORMAT = 1
# A unit is a sixty-fourth of the job, within these bounds: small enough that no process is left with much when the
# others are done, and large enough to make a file worth having.
_SHARE = 64
_SMALLEST, _LARGEST = 256 << 10, 64 << 20
# Whoever reads the end of a row group decodes all before it: more pieces than this cost more than they spread.
_PIECES = 16


class Unit(msgspec.Struct, frozen=True):
    """What becomes one part: slices, in the order of the input."""

    number: int
    slices: tuple[Slice, ...]

    @property
    def weight(self) -> int:
        """Bytes, as far as known before reading."""
        return sum(part.weight for part in self.slices)


class Plan(msgspec.Struct, frozen=True):
    """A job, whole.

    Attributes:
        format: of this document.
        decides: what a part depends on beside its rows: bundle, cut-offs, columns, limits, output format.
        sources: input files.
        units: the work.
        breakers: as they were when the job began, for all of it: a run that goes on later asks for the same. None: the
            job knows of none.
    """

    format: int
    decides: dict[str, Any]
    sources: tuple[Source, ...]
    units: tuple[Unit, ...]
    breakers: ActiveBreakers | None = None

    def encode(self) -> bytes:
        """The document."""
        return msgspec.json.encode(self) + b"\n"

    @classmethod
    def decode(cls, content: bytes, where: str) -> "Plan":
        """Reads the document.

        Raises:
            StreamtagError: it is damaged, or of another version of streamtag.
        """
        try:
            return strict_json.decode(content, cls)
        except msgspec.DecodeError as error:
            hint = "Choose another output, or begin anew with --restart."
            raise StreamtagError(f"{where} is not a plan of this version: {error}", hint=hint) from None


def make_plan(
    sources: Sequence[Source],
    columns: Mapping[str, str],
    decides: Mapping[str, Any],
    breakers: ActiveBreakers | None = None,
) -> Plan:
    """Looks at every file and cuts the job into units.

    Files of lines are read once for it: where records end is not known otherwise.

    Args:
        sources: input files.
        columns: field to name of its column, in tables.
        decides: see `Plan`.
        breakers: as they are now; see `Plan`.

    Raises:
        RefusedError: files that cannot be read with these columns; names all of them.
    """
    target = min(max(sum(source.size for source in sources) // _SHARE, _SMALLEST), _LARGEST)
    slices: list[Slice] = []
    found: list[str] = []
    for index, source in enumerate(sources):
        try:
            slices += _SLICERS[source.format](index, source, columns, target)
        except RefusedError as error:
            found += [f"{error.message}: {problem}" for problem in error.problems] or [error.message]
        except StreamtagError as error:
            found.append(error.message)
    if found:
        raise RefusedError("some files cannot be scored", problems=found, hint="Name columns with --column FIELD=NAME.")
    return Plan(FORMAT, dict(decides), tuple(sources), tuple(_units(slices, target)), breakers)


def differences(old: Plan, sources: Sequence[Source], decides: Mapping[str, Any]) -> list[str]:
    """What keeps a job from going on: how what is asked for differs from what its plan says."""
    found = [] if old.format == FORMAT else [f"plan: written by another version (format {old.format})"]
    names = [*old.decides, *(name for name in decides if name not in old.decides)]
    for name in names:
        before, now = old.decides.get(name), decides.get(name)
        if before != now:
            found.append(f"{name}: {before} then, {now} now")
    then, here = ({source.url: source for source in group} for group in (old.sources, sources))
    found += [f"{url}: no longer among the inputs" for url in then if url not in here]
    found += [f"{url}: new among the inputs" for url in here if url not in then]
    found += [f"{url}: changed since" for url in then if url in here and then[url] != here[url]]
    return found


def _units(slices: Sequence[Slice], target: int) -> Iterator[Unit]:
    """Slices put together, in order, until they weigh enough."""
    number, weight = 0, 0
    part: list[Slice] = []
    for piece in slices:
        if part and weight + piece.weight > target:
            yield Unit(number, tuple(part))
            number, part, weight = number + 1, [], 0
        part.append(piece)
        weight += piece.weight
    if part:
        yield Unit(number, tuple(part))


def _json_slices(index: int, source: Source, columns: Mapping[str, str], target: int) -> Iterator[Slice]:
    if source.compression:  # it has no places to begin at but its beginning
        yield Slice(index, 0, -1, 1, source.size)
        return
    with open_source(source) as stream:
        for part in stretches(blocks(stream), target, quoted=False):
            yield Slice(index, part.start, part.end, part.line, part.end - part.start)


def _csv_slices(index: int, source: Source, columns: Mapping[str, str], target: int) -> Iterator[Slice]:
    header = header_of(source)
    if columns["features"] != "features":
        raise RefusedError(f"{source.url} is CSV, which has no features: {columns['features']} cannot be their column")
    _check_columns(source, header.names, {field: columns[field] for field in TEXT_FIELDS})
    if source.compression:
        yield Slice(index, header.end, -1, header.line, source.size, header=header.names)
        return
    with open_source(source, at=header.end) as stream:
        for part in stretches(blocks(stream), target, quoted=True, start=header.end, line=header.line):
            yield Slice(index, part.start, part.end, part.line, part.end - part.start, header=header.names)


def _parquet_slices(index: int, source: Source, columns: Mapping[str, str], target: int) -> Iterator[Slice]:
    names, groups = groups_of(source, columns)
    _check_columns(source, names, columns)
    first = 1
    for number, group in enumerate(groups):
        pieces = min(max(1, round(group.size / target)), _PIECES)
        cuts = [group.rows * i // pieces for i in range(pieces + 1)]
        for start, end in itertools.pairwise(cuts):
            if start < end:
                yield Slice(index, start, end, first + start, group.size // pieces, group=number)
        first += group.rows


def _check_columns(source: Source, names: Sequence[str], columns: Mapping[str, str]) -> None:
    """Refuses a table without what is to be scored, or without a column that was asked for by a name of its own."""
    wanted = [column for field, column in columns.items() if column not in names and column != field]
    if not {columns["text"], columns.get("features")} & set(names):
        wanted.append(columns["text"])
    if wanted:
        shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        missing = ", ".join(dict.fromkeys(wanted))
        raise RefusedError(f"{source.url} has no column {missing}; it has {shown}")


_SLICERS = {
    FileFormat.JSONL: _json_slices,
    FileFormat.CSV: _csv_slices,
    FileFormat.PARQUET: _parquet_slices,
}
