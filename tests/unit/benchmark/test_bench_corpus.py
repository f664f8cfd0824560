import itertools

import pytest
from bench.corpus import TEXTS, Corpus

from streamtag.settings import load_settings


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus()


def test_the_corpus_is_the_same_on_every_machine(corpus: Corpus) -> None:
    assert corpus.sha256 == "ab24be3ee61c9ac833acf10aa6359c712efb7a30c1b8f57b87edbfdc4e4f092e"


def test_texts_are_distinct_and_of_the_length_that_was_promised(corpus: Corpus) -> None:
    lengths = [len(text) for text in corpus.texts]
    assert len(set(corpus.texts)) == TEXTS >= 60_000
    assert 170 < sum(lengths) / len(lengths) < 190
    assert min(lengths) < 30
    assert max(lengths) > 1_000


def test_some_texts_are_not_ascii(corpus: Corpus) -> None:
    assert 0.1 < sum(not text.isascii() for text in corpus.texts) / TEXTS < 0.2


def test_a_shorter_run_is_the_beginning_of_a_longer_one(corpus: Corpus) -> None:
    assert list(corpus.events(50)) == list(itertools.islice(corpus.events(5_000), 50))


def test_events_outnumber_texts_and_keep_ids_of_their_own(corpus: Corpus) -> None:
    count = TEXTS + 10
    assert len({event.value for event in corpus.events(count)}) == count


@pytest.mark.parametrize("chars", [60, 8_000])
def test_texts_of_another_length_are_what_a_worker_takes(chars: int) -> None:
    lengths = [len(text) for text in Corpus(chars).texts]
    assert 0.9 * chars < sum(lengths) / len(lengths) < 1.1 * chars
    assert max(lengths) < load_settings(environ={}).settings.events.max_text_chars
