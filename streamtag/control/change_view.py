"""A change request as JSON, for the API and the command line."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from streamtag.control.change_documents import (
    CandidatePromotion,
    ChangeRequest,
    Content,
    ExperimentStart,
    Promotion,
    ThresholdMoves,
)
from streamtag.domain.change import State, allowed
from streamtag.domain.taxonomy import Taxonomy

__all__ = ["content_words", "overlapping", "owners_of", "request_view"]


def request_view(
    request: ChangeRequest, taxonomy: Taxonomy | None, by: str | None = None, now: datetime | None = None
) -> dict[str, Any]:
    """All of it; with ``by`` and ``now``, also what this person may do to it."""
    about = msgspec.to_builtins(request)
    content = about.pop("content")
    found = {
        **{name: about[name] for name in ("number", "state", "author", "reason", "at", "ticket")},
        "kind": request.kind,
        "what": content_words(request.content),
        "changes": _changes(request.content),
        "content": content,
        **{name: value for name, value in about.items() if name not in ("number", "state", "author", "reason", "at")},
        "approved_by": request.approved_by or None,
        "owners": owners_of(request.labels, taxonomy),
    }
    if by is not None and now is not None:
        found["allowed"] = allowed(request.facts, by, now)
    return found


def content_words(content: Content) -> list[str]:
    """What it asks for, a line each."""
    if isinstance(content, ThresholdMoves):
        return [str(move) for move in content.moves]
    if isinstance(content, Promotion):
        which = "with the present thresholds" if content.thresholds is None else "with thresholds of its own"
        return [f"bundle {content.bundle.name}@{content.bundle.version} decides, {which}"]
    if isinstance(content, CandidatePromotion):
        number = content.experiment.number
        return [f"release {content.candidate.number}, candidate of experiment {number}, decides"]
    assert isinstance(content, ExperimentStart), "there are four kinds"
    return [_experiment_words(content)]


def owners_of(labels: Sequence[str], taxonomy: Taxonomy | None) -> dict[str, str | None]:
    """Who owns each of ``labels`` by the taxonomy; None where it does not say, or there is none."""
    found: dict[str, str | None] = {}
    for label in labels:
        now = taxonomy.current(label) if taxonomy is not None and label in taxonomy.known else None
        found[label] = taxonomy.by_id[now].owner if taxonomy is not None and now is not None else None
    return found


def overlapping(request: ChangeRequest, others: Sequence[ChangeRequest]) -> list[dict[str, Any]]:
    """Other requests on the same labels that wait, or are live for a time."""
    found = []
    for other in others:
        shared = sorted(set(request.labels) & set(other.labels))
        open_ = other.state.waits or (other.state is State.LIVE and other.expires_at is not None)
        if shared and open_ and other.number != request.number:
            about = {"number": other.number, "state": other.state.value, "author": other.author}
            found.append({**about, "labels": shared, "what": content_words(other.content)})
    return found


def _changes(content: Content) -> list[Mapping[str, Any]]:
    if not isinstance(content, ThresholdMoves):
        return []
    return [
        {"segment": m.where, "label": m.label, "before": m.before, "after": m.after, "words": str(m)}
        for m in content.moves
    ]


def _experiment_words(content: ExperimentStart) -> str:
    request = content.request
    if content.challenger is not None:
        who = f"release {content.challenger.number}"
    elif content.bundle is not None:
        who = f"bundle {content.bundle.name}@{content.bundle.version}"
    else:
        who = "other thresholds"
    promotes = ", promoted by itself when it passes" if request.rollout.promote else ""
    return f"an experiment begins: {who} on {request.share:g} of the units ({request.plan.mode}){promotes}"
