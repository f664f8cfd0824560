"""Made-up harmless texts, the same in every run: what the peers of the benchmark tag."""

import hashlib
import itertools
import math
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

TEXTS = 66_000
"""Distinct texts. More than a cache could remember, fewer than the events of a run: real streams repeat themselves."""
MEAN_CHARS = 180
"""Characters of a text, on average, where nothing else is asked for."""

_SEED = 20_261_123
_WORDS = Path(__file__).with_name("words.txt")
# Characters of a text: log-normal, many short ones and a long tail, as comments have. None is longer than the worker
# takes (events.max_text_chars).
_SIGMA, _SHORTEST, _LONGEST_OVER_MEAN, _MOST = 0.75, 12, 1_500 / MEAN_CHARS, 19_900
_NON_ASCII_SHARE = 0.15
_SENTENCE_ENDS = (". ", ". ", ". ", "! ", "? ", ", ", ", ", "; ", "\n")

# One language a line, the most frequent words first: English, then those with other letters.
_ENGLISH, *_ELSEWHERE = (line.split() for line in _WORDS.read_text(encoding="utf-8").splitlines())
_EMOJI = ("🙂", "🎉", "👍", "🌧️", "☕", "🚲", "📚", "🌻")


class Event(NamedTuple):
    """One record of the input topic."""

    key: bytes
    value: bytes


class Corpus:
    """Distinct texts, and the events made of them.

    Args:
        chars: mean length; of long texts there are fewer than `TEXTS`, so that all together are no longer.

    Attributes:
        texts: in the order in which events use them.
        sha256: of the texts, one a line.
    """

    def __init__(self, chars: int = MEAN_CHARS) -> None:
        self.texts = _texts(chars)
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(text.encode() + b"\0")
        self.sha256 = digest.hexdigest()

    def events(self, count: int) -> Iterator[Event]:
        """The first ``count`` events; a shorter run is the beginning of a longer one."""
        random_ = random.Random(_SEED + 1)
        languages = ("en", "en", "en", "de", "fr", "es")
        for number, text in zip(range(count), itertools.cycle(self.texts), strict=False):
            author = f"author-{random_.randrange(5_000)}"
            event = {"id": f"event-{number:07d}", "text": text, "lang": random_.choice(languages), "author": author}
            yield Event(author.encode(), msgspec.json.encode(event))

    def facts(self) -> dict[str, object]:
        """What a reader wants to know of it."""
        lengths = sorted(map(len, self.texts))
        n = len(lengths)
        return {
            "sha256": self.sha256,
            "texts": n,
            "mean_chars": round(sum(lengths) / n, 1),
            "p10_p50_p90_p99_chars": [lengths[n * share // 100] for share in (10, 50, 90, 99)],
            "non_ascii_share": round(sum(not text.isascii() for text in self.texts) / n, 3),
        }


@cache
def _texts(mean: int) -> list[str]:
    random_ = random.Random(_SEED)
    # A dict keeps order and drops doubles.
    found: dict[str, None] = {}
    while len(found) < TEXTS * MEAN_CHARS // max(mean, MEAN_CHARS):
        found[_text(random_, mean)] = None
    return list(found)


def _text(random_: random.Random, mean: int) -> str:
    mu = math.log(mean) - _SIGMA**2 / 2
    longest = min(_MOST, mean * _LONGEST_OVER_MEAN)
    wanted = min(longest, max(_SHORTEST, random_.lognormvariate(mu, _SIGMA)))
    elsewhere = random_.choice(_ELSEWHERE) if random_.random() < _NON_ASCII_SHARE else None
    parts: list[str] = []
    length, capital = 0, random_.random() < 0.8
    while length < wanted:
        word = _word(random_, elsewhere)
        if capital:
            word = word[0].upper() + word[1:]
        after = random_.choice(_SENTENCE_ENDS) if random_.random() < 0.12 else " "
        capital = after in (". ", "! ", "? ", "\n")
        parts += (word, after)
        length += len(word) + len(after)
    return "".join(parts).strip()


def _word(random_: random.Random, elsewhere: list[str] | None) -> str:
    chance = random_.random()
    if chance < 0.03:
        return str(random_.randrange(1, 10 ** random_.randrange(1, 5)))
    if elsewhere is not None and chance < 0.6:
        return random_.choice(_EMOJI) if chance < 0.06 else random_.choice(elsewhere)
    # The square of a uniform number: half of the words come from the first quarter of the list.
    return _ENGLISH[int(random_.random() ** 2 * len(_ENGLISH))]
