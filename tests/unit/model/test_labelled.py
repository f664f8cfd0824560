"""Files of labelled documents: what is read, and that all that is wrong is named at once."""

from pathlib import Path

import pytest

from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.evaluation.labelled import Labelled, read_labelled

LABELS = ("spam", "greeting")


def read(path: Path, content: str) -> Labelled:
    path.write_text(content, encoding="utf-8")
    return read_labelled(path, LABELS, max_chars=20)


def problems(path: Path, content: str) -> tuple[str, ...]:
    with pytest.raises(RefusedError) as refused:
        read(path, content)
    return refused.value.problems


def test_a_list_says_no_to_the_rest_and_a_mapping_leaves_it_unknown(tmp_path: Path) -> None:
    lines = '{"text": "buy", "labels": ["spam"], "lang": "en"}\n\n{"text": "hi", "labels": {"greeting": 1}}\n'
    found = read(tmp_path / "a.jsonl", lines)
    assert found.targets.tolist() == [[1, 0], [-1, 1]]
    assert found.fields["lang"] == ("en", "")


def test_csv_gives_the_same_as_json_lines(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", '\ufefftext,spam,greeting,lang\n"buy,\nnow",1,0,en\nhi,,1,\n')
    assert found.texts == ("buy,\nnow", "hi")
    assert found.targets.tolist() == [[1, 0], [-1, 1]]
    assert found.fields["lang"] == ("en", "")


def test_equal_texts_are_one_group_unless_the_file_names_groups(tmp_path: Path) -> None:
    line = '{{"text": "{}", "labels": []{}}}\n'
    lines = line.format("Hello  you", "") + line.format("hello you", "") + line.format("bye", ', "group": "g"')
    assert read(tmp_path / "a.jsonl", lines + line.format("ciao", ', "group": "g"')).group.tolist() == [0, 0, 1, 1]


def test_every_wrong_line_is_named_with_its_field(tmp_path: Path) -> None:
    lines = (
        '{"labels": []}\n'
        "nonsense\n"
        '{"text": "a", "labels": ["spma"]}\n'
        '{"text": "a", "labels": {"spam": 2}}\n'
        '{"text": "a", "labels": [], "lnag": "en"}\n'
        '{"text": "a", "labels": [], "lang": 1}\n'
        '{"text": "aaaaaaaaaaaaaaaaaaaaa", "labels": []}\n'
        '{"text": "a"}\n[]\n'
    )
    found = problems(tmp_path / "a.jsonl", lines)
    expected = (
        "line 1, text", "line 2: not JSON", "line 3, labels.spma", "line 4, labels.spam", "line 5, lnag",
        "line 6, lang", "line 7, text: 21", "line 8, labels", "line 9",
    )  # fmt: skip
    assert len(found) == len(expected)
    for wanted in expected:
        assert any(problem.startswith(wanted) for problem in found), wanted


def test_csv_names_columns_cells_and_marks(tmp_path: Path) -> None:
    assert problems(tmp_path / "a.csv", "text,spma\na,1\n")[0].startswith("column spma")
    found = problems(tmp_path / "a.csv", "text,spam\na,yes\nb\n")
    assert found[0].startswith("line 2, labels.spam")
    assert found[1].startswith("line 3: 1 cells")


def test_a_file_that_is_empty_missing_or_not_utf8_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path / "a.jsonl", "\n") == ("the file holds no document",)
    with pytest.raises(NotFoundError):
        read_labelled(tmp_path / "none", LABELS, max_chars=20)
    (tmp_path / "b").write_bytes(b"{}\n\xff")
    with pytest.raises(RefusedError) as refused:
        read_labelled(tmp_path / "b", LABELS, max_chars=20)
    assert refused.value.problems == ("line 2: byte 3",)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    found = problems(tmp_path / "a.jsonl", "x\n" * 60)
    assert found[-1] == "… and 10 more"
