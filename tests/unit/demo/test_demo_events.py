"""The demo's made-up events."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.devstack.demo.events import BROKEN_SHARE, EventSource, Record, sample_texts
from streamtag.devstack.demo.texts import SLOTS, TEMPLATES
from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import Rejected
from streamtag.settings import DeadLetterSettings, load_settings

DECODER = Decoder(load_settings(environ={}).settings.events)


def records(seed: int, count: int) -> list[Record]:
    return list(itertools.islice(EventSource(seed), count))


def decoded(record: Record) -> ContentEvent:
    return DECODER.decode(record.value, key=record.key, headers=[], position=("content", 0, 0))


@given(st.integers())
def test_the_same_seed_gives_the_same_records(seed: int) -> None:
    assert records(seed, 20) == records(seed, 20)
    assert sample_texts(seed, 20) == sample_texts(seed, 20)


def test_another_seed_gives_other_records() -> None:
    assert records(1, 20) != records(2, 20)


def test_whole_records_are_content_events_with_ids_of_their_own_keyed_by_author() -> None:
    whole = [record for record in records(1, 2_000) if not record.broken]
    events = [decoded(record) for record in whole]
    assert len({event.id for event in events}) == len(whole)
    assert [(event.author or "").encode() for event in events] == [record.key for record in whole]
    assert all(event.text and event.lang == "en" and event.channel for event in events)


def test_broken_records_are_refused_for_several_reasons_and_stay_far_from_the_dead_letter_limit() -> None:
    made = records(1, 4_000)
    broken = [record for record in made if record.broken]
    classes = set()
    for record in broken:
        with pytest.raises(Rejected) as caught:
            decoded(record)
        classes.add(caught.value.error_class)
    assert classes == {"invalid_json", "missing_field", "wrong_type", "invalid_utf8"}
    assert 0 < len(broken) / len(made) < 3 * BROKEN_SHARE
    assert DeadLetterSettings().max_ratio > 10 * BROKEN_SHARE  # type: ignore[call-arg]


def test_every_slot_of_every_template_can_be_filled() -> None:
    used = {name for kind in TEMPLATES.values() for text in kind for name in re.findall(r"\{([a-z]+)\d?\}", text)}
    assert used == set(SLOTS)
    assert not [text for text in sample_texts(3, 2_000) if "{" in text or "}" in text]


def test_two_slots_of_one_kind_in_a_sentence_differ() -> None:
    swaps = [found for text in sample_texts(1, 5_000) if (found := re.search(r"Swap my (\w+) for a (\w+)\?", text))]
    assert swaps
    assert not [found[0] for found in swaps if found[1] == found[2]]
