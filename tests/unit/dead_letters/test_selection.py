from datetime import UTC, datetime
from typing import Any

import pytest
from letter_factory import make

from streamtag.api.routes_dead_letters import Meant
from streamtag.dead_letters.selection import Selection, parse_position, parse_selection, parse_time
from streamtag.errors import SettingsError

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("conditions", "matches"),
    [
        ({}, True),
        ({"error_classes": ("mapping",)}, True),
        ({"error_classes": ("other", "mapping")}, True),
        ({"error_classes": ("other",)}, False),
        ({"stages": ("infer",)}, False),
        ({"fields": ("/x",), "topics": ("content",)}, True),
        ({"fields": ("/x",), "topics": ("dead",)}, False),
        ({"since_ms": 2_000}, True),
        ({"since_ms": 2_001}, False),
        ({"until_ms": 2_000}, False),
        ({"until_ms": 2_001}, True),
        ({"positions": ("1/7",)}, True),
        ({"positions": ("1/8", "0/7")}, False),
        ({"min_replays": 2}, True),
        ({"min_replays": 3}, False),
    ],
)
def test_all_conditions_must_hold(conditions: dict[str, Any], matches: bool) -> None:
    assert Selection(**conditions).matches(make()) is matches


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T02:00:00Z", datetime(2026, 11, 23, 2, tzinfo=UTC)),
        ("2026-11-23T03:00:00+01:00", datetime(2026, 11, 23, 2, tzinfo=UTC)),
        ("90m", datetime(2026, 11, 23, 1, 30, tzinfo=UTC)),
        ("2d", datetime(2026, 11, 21, 3, tzinfo=UTC)),
    ],
)
def test_times_are_absolute_or_so_long_ago(text: str, moment: datetime) -> None:
    assert parse_time(text, "--since", now=NOW) == moment.timestamp() * 1_000


@pytest.mark.parametrize("text", ["", "yesterday", "2", "2w", "-2h", "2026-11-23T02:00:00", "999999d", "999999h "])
def test_what_is_no_time_is_refused_by_its_option(text: str) -> None:
    with pytest.raises(SettingsError, match="--since"):
        parse_time(text, "--since", now=NOW)


def test_a_replay_takes_no_relative_time_and_says_which_it_means() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_time("2h", "--since", now=NOW, relative=False)
    assert "--since 2026-11-23T01:00:00Z" in caught.value.hint


@pytest.mark.parametrize("text", ["2026-11-23", "20261123", "2026-11-23T02:00", "2026-11-23T02:00:00.5"])
def test_a_time_without_a_zone_is_refused_with_one_that_is_taken(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_time(text, "--since", now=NOW)
    example = caught.value.message.rpartition("e.g. ")[2]
    assert (
        parse_time(example, "--since", now=NOW) == datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000
    )


@pytest.mark.parametrize("field", ["since", "until"])
def test_the_api_names_its_own_fields(field: str) -> None:
    with pytest.raises(SettingsError, match=f"^{field} 'yesterday' is no time"):
        Meant.model_validate({field: "yesterday"}).selection()


@pytest.mark.parametrize("text", ["", "1", "1/", "/1", "a/1", "1/2/3", "-1/2", "1/\u0661"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="partition/offset"):
        parse_position(text)


def test_the_order_of_options_does_not_matter() -> None:
    one = parse_selection(error_classes=["b", "a", "b"], positions=["1/9", "0/3", "1/9"], now=NOW)
    two = parse_selection(error_classes=["a", "b"], positions=["0/03", "1/9"], now=NOW)
    assert one == two == Selection(error_classes=("a", "b"), positions=("0/3", "1/9"))
