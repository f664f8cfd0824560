"""docs/howto-secure.md: what it tells people to set exists, bears the team's name, and covers what the code calls."""

import re
from pathlib import Path

import secure_page

from streamtag.settings import describe, load_settings

LUA = Path(__file__).parents[3] / "streamtag" / "control" / "lua"


def test_every_name_that_others_can_see_is_the_teams_own() -> None:
    settings = load_settings(environ={}, overrides=secure_page.settings()).settings
    topics = ("input", "tags", "stats", "dead_letters", "panes")
    names = {f"topics.{name}" for name in topics} | {name for name, _ in describe() if name.endswith(".group")}
    assert names | {"redis.namespace"} <= secure_page.settings().keys()
    named = [*settings.topics.input, *(getattr(settings.topics, name) for name in topics[1:])]
    assert all(name.startswith("team-a.") for name in named)


def test_secrets_are_read_from_the_variables_that_it_names() -> None:
    found = secure_page.variables()
    assert len(found) == 5
    for variable, setting in found.items():
        value = "redis://u:p@h" if setting == "redis.url" else "s3cret"
        assert load_settings(environ={variable: value}).origin(setting) == f"environment {variable}"


def test_a_right_is_given_to_users_of_the_table_alone_and_within_the_team() -> None:
    users = set(re.findall(r"^\| `[^|]+\| `(team-a-[a-z]+)` \|", secure_page.PAGE, re.MULTILINE))
    rights = secure_page.acls()
    assert {right.principal for right in rights} == {f"User:{user}" for user in users}
    assert all(re.match(r"team-a[.-]", right.name) for right in rights)


def test_redis_allows_what_the_scripts_call() -> None:
    allowed = {word[1:] for word in secure_page.redis_commands("p")[0] if word.startswith("+")}
    for script in LUA.glob("*.lua"):
        called = {name.lower() for name in re.findall(r"redis\.call\('([A-Z]+)'", script.read_text(encoding="utf-8"))}
        assert called <= allowed, script.name
