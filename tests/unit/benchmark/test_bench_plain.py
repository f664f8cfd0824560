from pathlib import Path

import msgspec
import pytest
from bench import plain
from bench.corpus import Corpus
from bench.job import Job
from tiny_bundle import build_tiny_bundle

from streamtag.domain.scores import from_micro, to_micro
from streamtag.model.loading import load_scorer

EVENTS = 1_300


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def done(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, float], list[dict[str, object]]]:
    output = tmp_path_factory.mktemp("plain") / "values"
    job = Job(bundle=str(bundle), thresholds={"spam": 0.5, "greeting": 0.5}, events=EVENTS, output=str(output))
    figures = plain.run(job)
    return figures, [msgspec.json.decode(line) for line in output.read_bytes().splitlines()]


def test_each_step_costs_something_and_the_whole_is_their_sum(done: tuple[dict[str, float], object]) -> None:
    figures, _ = done
    steps = [figures[f"{step}_us"] for step in plain.STEPS]
    assert min(steps) > 0
    assert figures["plain_us"] == pytest.approx(sum(steps))


def test_every_event_is_tagged_as_the_bundle_scores_it(
    bundle: Path, done: tuple[object, list[dict[str, object]]]
) -> None:
    _, events = done
    texts = Corpus().texts[:EVENTS]
    scores = from_micro(to_micro(load_scorer(bundle, batch=64).score(texts))).tolist()
    assert [event["scores"] for event in events] == [
        dict(zip(("spam", "greeting"), row, strict=True)) for row in scores
    ]
    assert any(event["tags"] for event in events)
