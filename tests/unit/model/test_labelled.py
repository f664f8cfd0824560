"""Files of labelled documents: what is read, and that all that is wrong is named at once."""

from pathlib import Path

import pytest

from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.evaluation.labelled import Labelled, read_labelled
from streamtag.settings import Settings

LABELS = ("spam", "greeting")
EVENTS = Settings().events.model_copy(update={"max_text_chars": 20})


def read(path: Path, content: str) -> Labelled:
    path.write_text(content, encoding="utf-8")
    return read_labelled(path, LABELS, EVENTS)


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
        read_labelled(tmp_path / "none", LABELS, EVENTS)
    (tmp_path / "b").write_bytes(b"{}\n\xff")
    with pytest.raises(RefusedError) as refused:
        read_labelled(tmp_path / "b", LABELS, EVENTS)
    assert refused.value.problems == ("line 2: byte 3",)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    found = problems(tmp_path / "a.jsonl", "x\n" * 60)
    assert found[-1] == "… and 10 more"


def test_a_line_may_carry_features_and_whatever_else_an_event_has(tmp_path: Path) -> None:
    lines = (
        '{"features": {"amount": 3, "age": null}, "labels": ["spam"], "tenant": "a", "id": "7", "author": "x"}\n'
        '{"text": "hi", "features": {"amount": 3}, "labels": []}\n'
        '{"features": {"age": null, "amount": 3}, "labels": []}\n'
    )
    found = read(tmp_path / "a.jsonl", lines)
    assert found.features[:2] == ({"amount": 3, "age": None}, {"amount": 3})
    assert (found.texts, found.without_text) == (("", "hi", ""), (0, 2))
    assert found.fields["tenant"] == ("a", "", "")
    assert found.group.tolist() == [0, 1, 0]  # the same features, however they are written


def test_features_in_csv_have_columns_of_their_own(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", "features.amount,features.kind,text,spam\n1.5,web,,1\n,,hi,0\n")
    assert found.features == ({"amount": 1.5, "kind": "web"}, {"amount": None, "kind": None})


def test_a_whole_record_is_read_as_the_stream_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"event": {"id": "7", "text": "hi", "lang": "de"}, "labels": ["spam"]}\n')
    assert read_labelled(path, LABELS, EVENTS).fields["lang"] == ("de",)
    path.write_text('{"event": {"EventID": 4688, "CommandLine": "whoami"}, "labels": [], "source": "lab"}\n')
    found = read_labelled(path, LABELS, EVENTS.model_copy(update={"mapping": "log", "max_text_chars": 200}))
    assert "whoami" in found.texts[0]
    assert found.fields["source"] == ("lab",)


def test_a_record_that_the_stream_would_refuse_is_refused_without_its_content(tmp_path: Path) -> None:
    found = problems(
        tmp_path / "a.jsonl",
        '{"event": {"text": "hi"}, "labels": []}\n'
        '{"event": {"id": "7", "text": "secret secret secret"}, "labels": [], "lang": "de"}\n'
        '{"features": {"a": {"secret": 1}}, "labels": []}\n'
        '{"id": "7", "labels": []}\n',
    )
    assert [problem.split(":")[0] for problem in found] == [
        "line 1, event, id", "line 2, lang", "line 3, features[...]", "line 4, text",
    ]  # fmt: skip
    assert "secret" not in "".join(found)
