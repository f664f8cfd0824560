"""Where records of a file of lines begin and end, however it is cut and read."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from streamtag.batch import lines
from streamtag.batch.csv_files import is_sound
from streamtag.batch.lines import Record, Stretch, blocks, records, stretches

CONTENT = st.lists(st.sampled_from([b"a", b"bc", b'"', b'""', b"\n", b"\r\n", b",", b"\xc3\xa9"]), max_size=40).map(
    b"".join
)


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def is_csv(content: bytes, whole: bool) -> bool:
    return is_sound(content, ",", whole)


def whole(content: bytes, *, quoted: bool, max_bytes: int = 100, block: int = 1_000) -> list[Record]:
    found = records(cut(content, block), max_bytes, quoted=quoted, sound=is_csv)
    return [r for read in found for r in read]


@given(CONTENT, st.integers(3, 9), st.integers(1, 20), st.booleans(), st.integers(1, 20))
def test_records_are_the_same_however_the_file_is_cut_and_read(
    content: bytes, block: int, size: int, quoted: bool, max_bytes: int
) -> None:
    parts = list(stretches(cut(content, block), size, quoted=quoted))
    assert b"".join(content[p.start : p.end] for p in parts) == content
    found = [
        record
        for p in parts
        for read in records(
            cut(content[p.start : p.end], block),
            max_bytes,
            quoted=quoted,
            line=p.line,
            begins_file=p.start == 0,
            sound=is_csv,
        )
        for record in read
    ]
    assert found == whole(content, quoted=quoted, max_bytes=max_bytes)


@given(st.lists(st.lists(st.text('ab",\n ', max_size=6), min_size=2, max_size=2), max_size=12))
def test_csv_records_are_those_that_a_csv_reader_finds(rows: list[list[str]]) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerows(rows)
    found = [r.content for r in whole(written.getvalue().encode(), quoted=True)]
    assert [next(csv.reader([c.decode()], strict=True)) for c in found if c is not None] == rows


@given(st.integers(1, 50), st.integers(20, 60))
def test_one_quote_too_many_hides_no_line_after_it(block: int, max_bytes: int) -> None:
    content = b'1,a\n3,a 5" pipe\n' + b'4,"b, c"\n5,d\r\n' * 20 + b'9,x" y\n10,"two\nlines"\n11,e'
    found = whole(content, quoted=True, max_bytes=max_bytes, block=block)
    lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    expected = [Record(i + 1, line) for i, line in enumerate(lines)]
    assert found == [*expected[:43], Record(44, b'10,"two\nlines"'), Record(46, b"11,e")]


@given(st.integers(1, 50))
def test_lines_that_a_quote_without_its_end_hides_count_each(block: int) -> None:
    content = b'1,a\n2,"open\n' + b"3,a longer line\n" * 30
    note = "lines 2 to 32 were read as one record: a quote is never closed"
    expected = [Record(1, b"1,a"), *(Record(line, None, note) for line in range(2, 33))]
    assert whole(content, quoted=True, max_bytes=100, block=block) == expected
    assert whole(content.removesuffix(b"\n"), quoted=True, max_bytes=100, block=block) == expected


def test_a_text_that_is_too_long_makes_no_rows_of_its_lines() -> None:
    content = b'1,"long\nvictim,fine\nvictim,fine\n"\n2,b\n'
    assert whole(content, quoted=True, max_bytes=20) == [
        Record(1, None, "lines 1 to 4 are one record"),
        Record(5, b"2,b"),
    ]


def test_a_record_is_named_by_the_line_that_it_begins_on() -> None:
    content = b'h,t\n1,"two\nlines"\n2,x\n'
    assert whole(content, quoted=True) == [Record(1, b"h,t"), Record(2, b'1,"two\nlines"'), Record(4, b"2,x")]
    assert list(stretches([content], 1, quoted=True)) == [Stretch(0, 4, 1), Stretch(4, 18, 2), Stretch(18, 22, 4)]


def test_a_byte_order_mark_is_no_content_where_a_file_begins() -> None:
    assert whole(b"\xef\xbb\xbfa\n\xef\xbb\xbfb", quoted=False) == [Record(1, b"a"), Record(2, b"\xef\xbb\xbfb")]


def test_blocks_end_where_the_stretch_does() -> None:
    assert b"".join(blocks(io.BytesIO(b"x" * (lines.BLOCK + 10)), lines.BLOCK + 5)) == b"x" * (lines.BLOCK + 5)
    assert b"".join(blocks(io.BytesIO(b"abc"))) == b"abc"


def test_a_record_without_an_end_does_not_fill_the_memory() -> None:
    endless = (b"x" * 1_000 for _ in range(10_000))
    assert list(records(endless, 2_000, quoted=False)) == [[Record(1, None)]]
