"""Two stages on real Kafka and Redis, through a kill: every event has the scores of the stage that it names."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from checker import Input
from pipeline import Ledger, Record, check_all, events, wait_covered
from services import read_all, wait_until
from stage_checker import Staged, stage_problems
from tiny_bundle import build_tiny_bundle
from workers import Fleet

from streamtag.domain.scores import from_micro, to_micro
from streamtag.model.bundle import read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.two_stages import pair

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

EVENTS, SHARE, PER_BATCH, SAMPLE = 12_000, 0.15, 16, 0.01


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two tiny ones that agree on little."""
    directory = tmp_path_factory.mktemp("stages")
    first = read_bundle(build_tiny_bundle(directory, name="first"))
    second = read_bundle(build_tiny_bundle(directory, name="second", weights_seed=5))
    bands = {"spam": (0.35, 0.65), "greeting": (0.4, 0.6)}
    return pair(first, second, directory, name="tiny", version="1", bands=bands, sample=SAMPLE)


def expected(made: list[tuple[Input, Record]], bundle: Path) -> dict[str, Staged]:
    """What both stages score each event, by its id."""
    scorer = load_scorer(bundle, batch=64)
    assert scorer.second is not None
    assert scorer.bands is not None
    found = [(given.id, json.loads(value or b"")["text"]) for given, (_, value) in made if given.kind == "event"]
    texts = [text for _, text in found]
    first, second = to_micro(scorer.score(texts)), to_micro(scorer.second.score(texts))
    held, sampled = scorer.bands.hold(first), scorer.bands.sampled(found, len(found))
    assert 0.1 < np.mean(held) < 0.9

    def named(micro: np.ndarray) -> dict[str, float]:
        return dict(zip(scorer.labels, from_micro(micro).tolist(), strict=True))

    rows = zip(found, first, second, held.tolist(), sampled.tolist(), strict=True)
    return {name: Staged(named(one), named(two), in_band, chosen) for (name, _), one, two, in_band, chosen in rows}


def test_each_event_has_the_scores_of_its_stage_though_a_worker_is_killed(
    fleet: Fleet, ledger: Ledger, two_stages: Path
) -> None:
    fleet.bundles = two_stages.parent.parent
    budget = {
        "tagger.stage2_share": str(SHARE),
        "tagger.stage2_per_batch": str(PER_BATCH),
        "tagger.stage2_time_share": "1",  # who is shed must not depend on how busy the machine is
    }
    fleet.overrides.update(budget)
    made = list(events(EVENTS, seed=7))
    ledger.write(made[: EVENTS // 2])
    worker = fleet.start()
    topics = fleet.topics
    wait_until(lambda: len(read_all(topics.bootstrap, topics.stats)) > 2, 60, "it has committed", every_s=0.05)
    ledger.write(made[EVENTS // 2 :])
    worker.kill()  # in the middle of them
    successor = fleet.start()
    wait_covered(ledger, 60)
    counted = successor.metrics()
    assert successor.stop() == 0
    outputs, problems = check_all(ledger, fleet, scored=False)
    problems += stage_problems(outputs.tags, expected(made, two_stages))
    assert not problems, (len(problems), problems[:10])
    why = Counter(tag.event.get("stage2") for tag in outputs.tags)
    assert min(why[None], why["band"], why["shed"], why["sample"]) > 0
    assert why["band"] + why["sample"] <= SHARE * len(outputs.tags) + 2 * PER_BATCH  # two workers, a bucket each
    said = [value for name, value in counted.items() if name.startswith("streamtag_stage2_events") and "shed" in name]
    assert sum(said) > 0
