"""A sample of the campaign, and proof that its checks can fail."""

import random
from collections.abc import Callable, Iterable, Iterator

import pytest
from hostile import generators
from hostile.subject import Attack, BrokenError, Subject, active_release
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_bundle import build_tiny_bundle

from streamtag.control.watcher import ActiveRelease
from streamtag.stream.processor import Output

PLAIN = [Attack(b'{"id": "a", "text": "hello"}', b"k"), Attack(b"broken"), Attack(None, b"k")]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> ActiveRelease:
    return active_release(build_tiny_bundle(tmp_path_factory.mktemp("bundles"), threshold=0.1))


@pytest.fixture(scope="module")
def subjects(release: ActiveRelease, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    labels = [f"label_{i:02}" for i in range(50)]
    wide = active_release(build_tiny_bundle(tmp_path_factory.mktemp("bundles"), labels, threshold=0.1))
    releases = {"given": release, "wide": wide}
    return {setup.name: Subject(setup, releases[setup.bundle]) for setup in generators.SETUPS}


@pytest.fixture
def subject(release: ActiveRelease) -> Subject:
    return Subject(generators.SETUPS[0], release)


@pytest.mark.parametrize("generator", generators.GENERATORS, ids=lambda generator: generator.name)
def test_every_input_of_every_generator_has_exactly_one_outcome(
    generator: generators.Generator, subjects: dict[str, Subject]
) -> None:
    subject = subjects[generator.setup]
    sent = sum(subject.outcomes.values())
    attacks = generator.make(random.Random(1))[:64]
    subject.process(attacks)
    subject.commit()
    assert sum(subject.outcomes.values()) == sent + len(attacks)


names = st.text(max_size=20) | st.sampled_from(["content-type", "ce_specversion", "ce_id", "traceparent", "tracestate"])
headers = st.none() | st.lists(st.tuples(names, st.none() | st.binary(max_size=80)), max_size=6)
stamps = st.none() | st.tuples(st.sampled_from([0, 1, 2]), st.integers(-(2**63), 2**63 - 1))
values = st.none() | st.binary(max_size=200) | st.sampled_from([attack.value for attack in PLAIN])
attacks = st.builds(Attack, values, st.none() | st.binary(max_size=40), headers, stamps)


@settings(max_examples=40, deadline=None)
@given(
    setup=st.sampled_from([setup.name for setup in generators.SETUPS]), batch=st.lists(attacks, min_size=1, max_size=20)
)
def test_whatever_a_record_holds_it_has_exactly_one_outcome(
    subjects: dict[str, Subject], setup: str, batch: list[Attack]
) -> None:
    subjects[setup].process(batch)
    subjects[setup].commit()


# -- the checks can fail ---------------------------------------------------------------------------------------------


def _without_the_last(outputs: Iterable[Output]) -> Iterator[Output]:
    yield from list(outputs)[:-1]


def _with_one_twice(outputs: Iterable[Output]) -> Iterator[Output]:
    found = list(outputs)
    yield from [*found, found[0]]


def _with_another_tag(outputs: Iterable[Output]) -> Iterator[Output]:
    tag = b'"tags":[{"label":"no","score":1,"threshold":0,"action":"tag"}'
    for output in outputs:
        yield output._replace(value=(output.value or b"").replace(b'"tags":[', tag + b","))


def _with_another_key(outputs: Iterable[Output]) -> Iterator[Output]:
    for output in outputs:
        yield output._replace(key=b"other")


@pytest.mark.parametrize("defect", [_without_the_last, _with_one_twice, _with_another_tag, _with_another_key])
def test_a_tagger_that_does_wrong_is_caught(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, defect: Callable[[Iterable[Output]], Iterator[Output]]
) -> None:
    right = subject.tagger.process
    monkeypatch.setattr(subject.tagger, "process", lambda records: defect(right(records)))
    with pytest.raises((BrokenError, ValueError)):
        subject.process(PLAIN)


def test_a_summary_that_does_not_add_up_is_caught(subject: Subject) -> None:
    subject.process(PLAIN)
    subject.tagger.undo()
    with pytest.raises(BrokenError, match="a summary counts every record"):
        subject.commit()


def test_a_batch_is_named_by_its_seed() -> None:
    for generator in generators.GENERATORS:
        if generator.make is not generators.timestamps:  # of the last days, whenever that is
            assert generator.make(random.Random(3)) == generator.make(random.Random(3)), generator.name
