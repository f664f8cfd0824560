"""Log events of every family as text: stable, decoded, bounded, whatever they hold. All examples are harmless."""

import base64
import json
import random
import time
import tracemalloc
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamtag.model.rendering import first, flatten, log_text
from streamtag.model.rendering.command_line import deobfuscate
from streamtag.model.rendering.decode import embedded_texts, unescape
from streamtag.model.rendering.log_text import render
from streamtag.model.rendering.words import word_hashes

WINDOWS = {
    "@timestamp": "2024-05-01T10:00:00.000Z",
    "winlog": {
        "channel": "Security",
        "event_id": 4688,
        "record_id": 1234567890,
        "event_data": {"NewProcessName": "C:\\Windows\\System32\\cmd.exe", "CommandLine": "cmd /c ec^ho hello"},
    },
    "host": {"name": "laptop-7"},
}
CLOUDTRAIL = {
    "eventVersion": "1.09",
    "eventID": "28773860-a4fd-47c7-a215-6f0e6e6e532f",
    "eventTime": "2024-05-01T10:00:00Z",
    "eventName": "PutBucketPolicy",
    "sourceIPAddress": "192.168.1.7",
    "recipientAccountId": "123456789012",
    "userIdentity": {"type": "AssumedRole", "sessionContext": {"attributes": {"mfaAuthenticated": "false"}}},
    "requestParameters": {"bucketPolicy": {"Statement": [{"Effect": "Allow", "Principal": "*"}]}},
    "responseElements": None,
}
ECS_NESTED = {"process": {"command_line": "tar -czf notes.tgz notes", "parent": {"name": "bash"}}}
ECS_DOTTED = {"process.parent.name": "bash", "process.command_line": "tar -czf notes.tgz notes"}
OCSF = {
    "class_uid": 1007,
    "time": 1795402800123,
    "actor": {"user": {"name": "bob"}},
    "process": {"cmd_line": "ls notes", "file": {"path": "/bin/ls"}},
    "unmapped": [{"name": "Zone", "value": "internal"}],
}
HTTP = {"method": "GET", "uri": "/find?q=two%20words%26more&lang=en", "headers": {"User-Agent": "test agent"}}


def lines(event: Any) -> list[str]:
    return render(json.dumps(event)).replace("\t", "=").split("\n")


def test_a_windows_event() -> None:
    assert lines(WINDOWS) == [
        "eventid=4688",
        "commandline=cmd /c ec^ho hello",
        "commandline=cmd /c echo hello",
        "newprocessname=C:\\Windows\\System32\\cmd.exe",
        "channel=Security",
        "host.name=laptop-7",
    ]


def test_a_cloudtrail_event() -> None:
    assert lines(CLOUDTRAIL) == [
        "eventname=PutBucketPolicy",
        "eventversion=1.09",
        "sessioncontext.mfaauthenticated=false",
        "sourceipaddress=<private-ip>",
        "statement.effect=Allow",
        "statement.principal=*",
        "useridentity.type=AssumedRole",
    ]


def test_an_ecs_event_reads_the_same_nested_and_with_dots_in_names() -> None:
    assert lines(ECS_NESTED) == ["process.commandline=tar -czf notes.tgz notes", "parent.name=bash"]
    assert lines(ECS_DOTTED) == lines(ECS_NESTED)


def test_an_ocsf_event() -> None:
    assert lines(OCSF) == [
        "file.path=/bin/ls",
        "process.cmdline=ls notes",
        "classuid=1007",
        "unmapped.name=Zone",
        "unmapped.zone=internal",
        "user.name=bob",
    ]


def test_a_request() -> None:
    assert lines(HTTP) == [
        "method=GET",
        "uri=/find?q=two%20words%26more&lang=en",
        "uri=/find?q=two words&more&lang=en",
        "headers.useragent=test agent",
    ]


def test_a_policy_inside_a_text_is_read_escaped_or_not() -> None:
    policy = json.dumps({"Statement": [{"Action": "s3:GetObject"}]})
    expected = ["statement.action=s3:GetObject"]
    assert lines({"policyDocument": policy}) == expected
    assert lines({"policyDocument": quote(policy)}) == expected


def test_values_of_one_path_share_a_line_and_so_does_what_they_hide() -> None:
    assert lines({"args": ["a^b", "c", "c^d"]}) == ["args=a^b=c=c^d", "args=ab=cd"]


def test_what_only_tells_one_event_from_the_next_is_left_out() -> None:
    event = {
        "a": "28773860-a4fd-47c7-a215-6f0e6e6e532f",
        "b": "2024-05-01 10:00:00.123456789",
        "c": "d41d8cd98f00b204e9800998ecf8427e",
        "d": 123456789012345678901234567890,
        "e": "",
        "f": None,
        "g": "-",
        "h": "8.8.8.8",
    }
    assert lines(event) == ["h=<ip>"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("caf%C3%A9", "café"),
        ("%2541", "A"),
        ("a=one+two%21", "a=one two!"),
        ("%u0041&lt;b&gt;&#33;", "A<b>!"),
        ("\\x41\\u0042\\u{43}", "ABC"),
        ("${lower:J}${::-K}", "JK"),
        ("wh^o^ami", "whoami"),
        ("wh''oa\"\"mi", "whoami"),
        ('w"ho"ami', "whoami"),
        ("Get-`Dat`e", "Get-Date"),
        ("'Get-' + 'Date'", "'Get-Date'"),
        ("&('{1}{0}' -f 'Date','Get-')", "&Get-Date"),
        ("%COMSPEC:~-7,3% /c dir", "cmd /c dir"),
        ("$env:comspec[4,26,25]-join''", "Iex"),
        ("cat${IFS}notes", "cat notes"),
        ("wh$@oami", "whoami"),
        ("w\\h\\o\\a\\m\\i", "whoami"),
        ("[char]72+[char]0x69", "Hi"),
        ("select char(72,105)", "select Hi"),
        ("one/**/two", "one two"),
        (base64.b64encode(b"the quick brown fox").decode(), "the quick brown fox"),
        (base64.b64encode("Write-Host hello".encode("utf-16-le")).decode(), "Write-Host hello"),
        (base64.b64encode(base64.b64encode(b"twice wrapped text")).decode(), "twice wrapped text"),
        ("0x" + b"hello there".hex(), "hello there"),
    ],
)
def test_what_a_text_hides_stands_on_the_last_line(text: str, plain: str) -> None:
    first, *hidden = render(text).split("\n")
    assert first == text
    assert hidden[-1] == plain


@pytest.mark.parametrize(
    "text",
    [
        "Don't stop the music; it's \"good\".",
        "C:\\Windows\\System32\\notepad.exe C:\\Users\\a\\b.txt",
        "/usr/local/lib/python3/site-packages/numpy/core",
        "AdministratorAccessPolicyForEverybody",
        "100% of 5 + 3 = 8 & more",
        "SELECT name FROM users WHERE id = 3",
        "x = a[3] + b(7)",
    ],
)
def test_text_that_hides_nothing_is_left_alone(text: str) -> None:
    assert render(text) == text


def test_a_text_that_only_begins_like_json_is_a_text() -> None:
    assert render("{not json") == "{not json"
    assert render("[main] INFO started") == "[main] INFO started"
    assert render("") == ""


def test_the_cache_of_names_keeps_no_whole_values() -> None:
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for i in range(100):
        flatten.fields([{"name": f"{i} {'a' * 100_000}", "value": "x"}])
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 1_000_000


# -- nobody hides what is beside him --------------------------------------------------------------------------------

PLANTED = "planted | word"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f'{{"name": "a", "value": "b", "commandline": "{PLANTED}"}}', f"commandline={PLANTED}"),
        (f'{{"key": "Run", "value": "b", "data": "{PLANTED}"}}', f"data={PLANTED}"),
        (f'{{"name": "{PLANTED}", "value": null}}', f"name={PLANTED}"),
        ('{"name": "planted.exe", "value": "b"}', "name=planted.exe"),
        (f'{{"{PLANTED}": 1}}', PLANTED),
        (f'{{"a": {{"{PLANTED}": null}}}}', f"a={PLANTED}"),
        (f'{{"a": "{PLANTED}", "a": "x"}}', f"a={PLANTED}=x"),
        (json.dumps({"body": json.dumps({PLANTED: 1})}), f"body={PLANTED}"),
        (f'{{"body": "{{\\"a\\": \\"{PLANTED}\\", \\"a\\": 1}}"}}', f"body.a={PLANTED}=1"),
        (json.dumps({"a": [*map(str, range(64)), PLANTED]}), "a=" + "=".join([*map(str, range(64)), PLANTED])),
        ('{"a":' * 20 + f'{{"b": "{PLANTED}"}}' + "}" * 20, f"a.a=a=b={PLANTED}"),
        (json.dumps({f"a{i}": "x" for i in range(4_000)} | {"commandline": PLANTED}), f"commandline={PLANTED}"),
    ],
)
def test_what_stands_beside_is_read(text: str, line: str) -> None:
    assert line in render(text).replace("\t", "=").split("\n")
    assert line not in first.render(text).replace("\t", "=").split("\n")


def test_a_name_stays_within_its_line() -> None:
    assert lines({"а\nб\tв": "x"}) == ["а б в", "а б в=x"]


def test_names_of_fields_are_no_values() -> None:
    event = {"@timestamp": "x", "user_name": "x", "a.b-c": "x", "CommandLine|contains|all": "x"}
    assert lines(event) == ["commandline=x", "a.bc=x", "timestamp=x", "username=x"]


CROWDS = {
    "a long text": "x y " * 5_000,
    "signs": "." * 2_000,
    "many values": json.dumps({"title": [list(range(i, i + 64)) for i in range(0, 20_000, 64)]}),
    "long values": json.dumps({"title": [f"a{i} " * 600 for i in range(10)]}),
    "many names": json.dumps({f"title{i}": {"title": i} for i in range(2_000)}),
    "what is decoded": "%2e" * 660,
    "a named pair": {"name": "Title", "value": ";" * 2_000},
    "named pairs": [{"name": f"title{'x' * i}", "value": ";" * 2_000} for i in range(40)],
    "an array": [f"a{i} " * 600 for i in range(10)],
}


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS)
@pytest.mark.parametrize("under", ["title", "useragent", "zz"])
@pytest.mark.parametrize("beside", ["uri", "agent", "zzz"])
def test_one_field_does_not_crowd_out_another(crowd: Any, under: str, beside: str) -> None:
    shown = "/show?a=%27one%27&b=../two"
    words = word_hashes(render(json.dumps({under: crowd, beside: shown, "status": 200})))
    alone = word_hashes(render(json.dumps({beside: shown, "status": 200})))
    assert set(alone) <= set(words)


LONG = json.dumps({"title": [f"a{i} " * 600 for i in range(10)]})
MANY = json.dumps({"title": [f"q{i}" + "x" * 60 for i in range(300)]})


@pytest.mark.parametrize("crowd", [LONG, MANY], ids=["long", "many"])
@pytest.mark.parametrize(
    "honest",
    [
        {f"field{i}": f"word{i} " * 6 for i in range(110)},
        {f"field{i}": f"wh^o mark{i}x and hid^den trail{i}x" for i in range(100)},
        {"Команда1": "two words"},
        {"7654321": "two words", "user-name": "two words", "a.b": "two words", "": "two words"},
        {"rm -rf / tmp": 1, "o": {"rm -rf / tmp": 1}},
        {"eventName": "PutBucketPolicy", "process": {"commandline": "-enc abc", "args": ["curl", "evil", "bash"]}},
    ],
    ids=["nearly full", "hidden", "no ascii", "odd names", "no names", "neighbours"],
)
@pytest.mark.parametrize(
    "place",
    [
        lambda crowd: {"message": crowd},
        lambda crowd: {"aua": crowd[:-1] + ', "process": {"commandline": "-enc abc", "args": ["bash", "curl"]}}'},
        lambda crowd: {"details": '{"eventname": "x"}', "Имя1": crowd, "1234567": crowd, "user_name": crowd},
        lambda crowd: {"name": "x", "value": crowd, "a": {"b.": crowd}, ".": crowd},
        lambda crowd: {"name": "a", "value": {"process": {"commandline": crowd, "args": crowd}}},
    ],
    ids=["telling", "repeats", "names alike", "containers", "below a name"],
)
def test_one_who_writes_a_few_fields_leaves_short_ones_whole(crowd: str, honest: Any, place: Any) -> None:
    alone = word_hashes(render(json.dumps(honest)))
    assert set(alone) <= set(word_hashes(render(json.dumps({**honest, **place(crowd)}))))


@pytest.mark.parametrize("crowd", [LONG, MANY], ids=["long", "many"])
def test_one_item_of_an_array_leaves_short_ones_whole(crowd: str) -> None:
    tags = [{"key": "a", "value": crowd}, {"key": "env", "value": "whoami /all"}]
    for event in ({"tags": tags}, {"x": [crowd, "whoami /all"]}):
        found = word_hashes(render(json.dumps(event)))
        assert {word_hashes(one)[0] for one in ("whoami", "all")} <= set(found)


def test_the_end_of_a_text_is_read_behind_signs() -> None:
    assert word_hashes("planted")[0] in word_hashes(render("GET /" + "." * 1_500 + "?id=planted"))


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 200))
def test_shares_are_fair(wanted: list[int], room: int) -> None:
    shares = log_text.fair_shares(wanted, room)
    assert sum(shares) <= max(room, 0)
    assert all(share <= most for share, most in zip(shares, wanted, strict=True))
    level = room // len(wanted) if wanted else 0
    assert all(share >= min(most, level) for share, most in zip(shares, wanted, strict=True))
    assert sum(shares) == sum(wanted) or sum(wanted) > room


# -- whatever it holds ---------------------------------------------------------------------------------------------

LONGEST = 2 * log_text.MAX_CHARS
nasty = st.text(st.sampled_from("%&\\^`'\"$+{}[]();,=/*:~0x1aAbB \n") | st.characters(), max_size=60)
keys = st.sampled_from(["name", "value", "a.b", "CommandLine", "event", "Key"]) | st.text(max_size=8)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | nasty
documents = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))


@given(nasty)
def test_any_text_is_rendered(text: str) -> None:
    rendered = render(text)
    assert rendered.startswith(text[:1]) or text.lstrip()[:1] in ("{", "[")
    assert len(rendered) <= LONGEST


def shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        order.shuffle(items)
        return {name: shuffled(inner, order) for name, inner in items}
    return [shuffled(inner, order) for inner in value] if isinstance(value, list) else value


@settings(max_examples=30)
@given(st.dictionaries(keys, documents, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_keys_and_the_white_space_do_not_matter(document: Any, order: random.Random) -> None:
    text = json.dumps(document)
    assert render(json.dumps(shuffled(document, order), indent=2)) == render(text)


@given(documents)
def test_all_that_the_first_contract_reads_of_a_small_document_is_read(document: Any) -> None:
    assume("\\ud" not in json.dumps(document))  # a lone surrogate within JSON within a text: no JSON, it said
    before, now = (_parts(some.render_document(document)) for some in (first, log_text))
    assert before <= now


def _parts(rendered: str) -> set[str]:
    return {part for line in rendered.split("\n") for part in line.split("\t") if part}


@given(documents, st.data())
def test_a_word_is_read_wherever_it_stands(document: Any, draw: st.DataObject) -> None:
    """As a value, or as a name that is no name; where a document is within its bounds."""
    planted = draw.draw(st.sampled_from(sorted(_planted(document), key=json.dumps)))
    assert "zqxj.qj|xz" in render(json.dumps(planted))


def _planted(value: Any) -> list[Any]:
    """The document with two words planted in all places where they may stand."""
    found: list[Any] = [["zqxj.qj|xz", value]]
    if isinstance(value, dict):
        found.append({**value, "zqxj.qj|xz": None})
        found += [{**value, name: inner} for name in value for inner in _planted(value[name])]
    if isinstance(value, list):
        found += [[*value[:i], inner, *value[i + 1 :]] for i in range(len(value)) for inner in _planted(value[i])]
    return found


@given(documents)
def test_a_document_is_rendered_within_its_bounds_and_twice_alike(document: Any) -> None:
    rendered = log_text.render_document(document)
    assert len(rendered) <= LONGEST
    assert log_text.render_document(json.loads(json.dumps(document))) == rendered


@given(nasty)
def test_each_step_gives_back_what_it_has_nothing_to_do_with(text: str) -> None:
    plain = text.translate({ord(char): "x" for char in "%&\\^`'\"$[(/0"})
    assert deobfuscate(plain) == plain
    assert unescape(plain) == plain


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=12, max_size=200))
def test_base64_of_printable_text_is_found_in_both_encodings(text: str) -> None:
    for encoding in ("ascii", "utf-16-le"):
        token = base64.b64encode(text.encode(encoding)).decode()
        assert embedded_texts(f"-enc {token} -x") == [text]


@given(st.text(max_size=40).filter(lambda text: "%" not in text))
def test_percent_encoding_is_undone(text: str) -> None:
    assert unescape(quote(text, safe="")).startswith(unescape(text)[:1])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.dictionaries(keys, leaves, max_size=4), max_size=3))
def test_a_text_that_holds_json_reads_like_the_json(inner: list[Any]) -> None:
    assert _parts(render(json.dumps({"policy": json.dumps(inner)}))) == _parts(render(json.dumps({"policy": inner})))


HOSTILE = {
    "carets": "^" * 4_000,
    "quotes": "'\"" * 2_000,
    "split quotes": "a'b'" * 1_000,
    "joins": "'+'" * 1_500,
    "spaces after a code": "char(65" + " " * 4_000,
    "codes": "char(65)+" * 500,
    "formats": "'{0}{1}' -f '" * 300,
    "look-ups": "${:-:-:-" * 500,
    "percents": "%25" * 1_300,
    "entities": "&#" + "9" * 6_000 + ";",
    "hex": "0x" + "ab" * 2_000,
    "base64": "QUFB" * 1_000,
    "comments": "/*" * 2_000,
    "slices": "%comspec:~-1" * 300,
    "escapes": "a\\b" * 1_300,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_time_is_linear_in_what_is_hostile(text: str) -> None:
    def cost(size: int) -> float:
        value = text * size
        best = float("inf")
        for _ in range(3):
            begin = time.thread_time()
            deobfuscate(unescape(value))
            embedded_texts(value)
            best = min(best, time.thread_time() - begin)
        return best

    # a quadratic step would take 64 times as long for 8 times the text
    assert cost(8) < 24 * max(cost(1), 1e-4)


def test_an_event_of_any_size_is_rendered_in_bounded_time_and_space() -> None:
    wide = {f"k{i}": "a'b'^c%41" * 100 for i in range(200)}
    wider = {f"k{i}": "a'b'^c%41" * 300 for i in range(2_000)}
    deep: Any = "x"
    for _ in range(200):
        deep = {"a": [deep]}
    empty: list[Any] = [[]] * 5_000
    for document in (wide, wider, deep, empty):
        begin = time.thread_time()
        assert len(render(json.dumps(document))) <= LONGEST
        assert time.thread_time() - begin < 2
