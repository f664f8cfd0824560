"""What every command shares: what is shown is what there is, and what is given is taken or refused."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from streamtag.cli import context
from streamtag.cli.main import _complain
from streamtag.errors import RefusedError, SettingsError

# Text of one line that a terminal shows as it is, rich in what console markup is made of.
cells = st.text(st.sampled_from("[]\\/:ab red="), min_size=1, max_size=40).map(lambda text: f"<{text}>")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context.stdout, "_width", 200)


@given(cells, cells)
@property_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_shows_cells_and_headings_as_they_are(
    capsys: pytest.CaptureFixture[str], heading: str, cell: str
) -> None:
    context.print_table((heading,), [(cell,)])
    shown = capsys.readouterr().out
    assert heading in shown
    assert cell in shown


@given(cells, cells)
@property_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_facts_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], name: str, value: str) -> None:
    context.print_facts({name: value})
    shown = capsys.readouterr().out
    assert name in shown
    assert value in shown


@pytest.mark.parametrize("cell", [r"\[/x]", r"a\[bold]b", "[/]", ":smile:"])
def test_markup_in_a_cell_is_text(capsys: pytest.CaptureFixture[str], cell: str) -> None:
    context.print_table(("h",), [(cell,)])
    context.print_facts({"h": cell})
    assert capsys.readouterr().out.count(cell) == 2


def test_a_column_that_is_empty_everywhere_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    context.print_table(("one", "two"), [("a", None), ("b", "")])
    assert "two" not in capsys.readouterr().out


@pytest.mark.parametrize("write", [context.say, context.warn])
def test_a_line_of_text_comes_out_whole_and_as_it_is(
    capsys: pytest.CaptureFixture[str], write: Callable[[str], None]
) -> None:
    line = "/long/path/" * 40 + r"[bold]\[/x] :smile: end"
    write(line)
    shown = capsys.readouterr()
    assert shown.out + shown.err == line + "\n"


def test_an_error_can_be_found_by_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/long/path/" * 40 + "settings.yaml"
    _complain(RefusedError(f"{path} is refused", problems=[f"{path} has a problem"], hint=f"Mend {path}."))
    assert capsys.readouterr().err.splitlines() == [
        f"error: {path} is refused",
        f"  - {path} has a problem",
        f"hint: Mend {path}.",
    ]


@pytest.mark.parametrize("unknown", [KeyError("getpwuid(): uid not found: 10001"), OSError("No username set")])
def test_a_user_without_a_name_must_give_an_author(monkeypatch: pytest.MonkeyPatch, unknown: Exception) -> None:
    def no_name() -> str:
        raise unknown

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("getpass.getuser", no_name)
    assert context.author_or_user("anna") == "anna"
    with pytest.raises(SettingsError) as refused:
        context.author_or_user(None)
    assert "--author" in refused.value.hint


def test_the_user_of_the_service_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the image everybody is that user."""
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("getpass.getuser", lambda: "streamtag")
    assert context.author_or_user("anna") == "anna"
    with pytest.raises(SettingsError, match="streamtag is the user of the service") as refused:
        context.author_or_user(None)
    assert "--author" in refused.value.hint
    monkeypatch.setattr("pwd.getpwuid", lambda _uid: type("Entry", (), {"pw_name": "streamtag"}))
    with pytest.raises(SettingsError, match="who asks for it and who approves it"):
        context.login_name()


def test_nothing_that_others_wrote_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    steering = "a raid\x1b[2A\x1b[2Kon the forum"
    context.say(steering)
    context.warn(steering)
    context.print_facts({"reason": steering})
    context.print_table(["reason"], [[steering]])
    said = capsys.readouterr()
    assert "\x1b[2" not in said.out + said.err
    assert (said.out + said.err).count(r"\x1b[2A\x1b[2Kon") == 4
    assert context.printable("two\nlines\tof text") == "two\nlines\tof text"
