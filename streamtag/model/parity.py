"""Fixtures of a bundle: harmless documents with the scores they got where it was made."""

from collections.abc import Sequence

from streamtag.model.contracts.preprocessor import FeatureRow
from streamtag.model.manifest import Fixture, Parity
from streamtag.model.scorer import Scorer

TOLERANCE = 1e-5
"""Of the parity fixtures: ten of the millionths that scores are compared in."""

# Harmless on purpose, and written for this file: many scripts, lookalikes, invisible characters, extremes of length.
PARITY_TEXTS = (
    "",
    " ",
    "a",
    "?!",
    "Thanks for the quick review, I will fix the typo in the second paragraph tonight.",
    "The museum opens at nine; tickets are cheaper online. See https://example.org/tickets?day=3&lang=en",
    "ARE YOU COMING TO THE MATCH ON SATURDAY???",
    "line one\nline two\ttabbed\r\nline three",
    "Grüße aus Köln: schöne Straßen, süße Brötchen.",
    "Ελληνικά, русский язык, 日本語のテキスト, 한국어, العربية, עברית, हिन्दी, ไทย",
    "𝓕𝓪𝓷𝓬𝔂 𝕝𝕖𝕥𝕥𝕖𝕣𝕤 and ｆｕｌｌ ｗｉｄｔｈ",
    "zero\u200bwidth\u200d and soft\u00adhyphen and \ufeffmark",
    "mixеd sсripts in оne sentеnce",
    "e\u0301te\u0301 n\u0303 a\u0336b\u0336c\u0336",
    "👍🏽 great job 🎉🎉🎉",
    "la " * 40,
    "The committee met on Tuesday to discuss the new timetable for the ferry between the two islands. " * 40,
)


def make_parity(
    scorer: Scorer,
    texts: Sequence[str] = PARITY_TEXTS,
    features: Sequence[FeatureRow | None] | None = None,
    *,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Fixtures of these documents by the scores that they get now."""
    rows = scorer.score(texts, features)
    given = [None] * len(texts) if features is None else [None if one is None else dict(one) for one in features]
    fixtures = [
        Fixture(text, [round(float(score), 9) for score in row], one)
        for text, row, one in zip(texts, rows, given, strict=True)
    ]
    return Parity(tolerance, fixtures, list(scorer.labels))
