"""Tag events of any age by today's ids of their labels."""

from collections.abc import Mapping
from typing import Any

from streamtag.domain.taxonomy import Taxonomy

__all__ = ["tags_today"]


def tags_today(event: Mapping[str, Any], taxonomy: Taxonomy) -> dict[str, Any]:
    """A decoded tag event with the ids that ``taxonomy`` gives its labels today; everything else is as it was.

    Labels that are one by now become one: a tagged one stands for them before one that is not, then the one with the
    highest score, with the cut-off it was compared with. So ``score >= threshold`` still says what was tagged. Labels
    that ended without a successor are left out.

    Raises:
        KeyError, TypeError, AttributeError: it is no tag event.
    """
    tags = {tag["label"]: tag for tag in event["tags"]}
    scores = event.get("scores") or {}
    thresholds = event.get("thresholds") or {}
    stands: dict[str, str] = {}
    labels = dict.fromkeys([*thresholds, *scores, *tags])
    for label, now in taxonomy.translate(labels).items():
        if now is not None and (now not in stands or _rank(label, tags, scores) > _rank(stands[now], tags, scores)):
            stands[now] = label
    found = {**event, "tags": [{**tags[label], "label": now} for now, label in stands.items() if label in tags]}
    for name, values in (("scores", scores), ("thresholds", thresholds)):
        if name in event:
            found[name] = {now: values[label] for now, label in stands.items() if label in values}
    return found


def _rank(label: str, tags: Mapping[str, Any], scores: Mapping[str, float]) -> tuple[bool, float]:
    tag = tags.get(label)
    return tag is not None, tag["score"] if tag is not None else scores.get(label, 0.0)
