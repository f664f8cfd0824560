"""What the commands on labelled documents share: the bundle, the documents, their scores; figures in words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from streamtag.atomic_files import replace_file
from streamtag.cli.context import optional_module, settings, warn
from streamtag.errors import RefusedError, StreamtagError
from streamtag.model.admission import load_admitted
from streamtag.model.evaluation.labelled import Labelled, read_labelled
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer
from streamtag.model.two_stages import final_scores

Labels = Annotated[Path, typer.Option("--labels", help="Labelled documents: JSON lines, or CSV.")]
Draws = Annotated[int, typer.Option("--draws", min=100, help="Draws of the bootstrap.")]
Bundle = Annotated[str | None, typer.Argument(help="name, name@version or a path with a /; default: model.bundle.")]
_SHOWN = 20
_FEW_GROUPS = 10


def admitted_scorer(which: str | None) -> Scorer:
    """Of the named bundle, or the configured one."""
    model = settings().settings.model
    return load_admitted(find_bundle(which or model.bundle, model.directories), model)


def read_documents(path: Path, scorer: Scorer) -> Labelled:
    """Documents labelled for this bundle."""
    return read_labelled(path, scorer.labels, settings().settings.events)


def scores_of(scorer: Scorer, data: Labelled) -> NDArray[np.float32]:
    """Scores of the documents, float32 [n, labels].

    Raises:
        RefusedError: names the documents that the bundle cannot score, and why.
    """
    scores = final_scores(scorer, data.texts, data.features)
    bad = set(np.nonzero(~np.isfinite(scores).all(axis=1))[0].tolist())
    if scorer.reads_text:
        bad |= {i for i in data.without_text if scorer.unfit(None, data.features[i]) is not None}
    if bad:
        found = [f"{data.places[i]}{_why(scorer, data, i)}" for i in sorted(bad)[:_SHOWN]]
        more = [f"… and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
        raise RefusedError(
            f"{scorer.bundle.ref} cannot score {len(bad)} of the documents",
            problems=[*found, *more],
            hint="Leave them out: in the stream they are dead letters, which nothing tags.",
        )
    return scores


def _why(scorer: Scorer, data: Labelled, i: int) -> str:
    unfit = scorer.unfit(None if i in data.without_text else data.texts[i], data.features[i])
    return "" if unfit is None else f", {unfit.field.removeprefix('/').replace('/', '.')}: {unfit.message}"


def write_whole(path: Path, text: str) -> None:
    """Whole or not at all."""
    try:
        replace_file(path, text.encode(), mode=0o644)
    except OSError as error:
        raise StreamtagError(f"cannot write {path}: {error.strerror}") from None


def room(module: str) -> Any:
    """A module that needs more than scoring does."""
    return optional_module(f"streamtag.model.{module}", "evaluation", "train")


def warn_of_few_groups(data: Labelled) -> None:
    """Says where intervals, which rest on draws of whole groups, are unknown or say little."""
    groups = int(data.group.max()) + 1
    if groups < _FEW_GROUPS:
        what = "intervals are unknown" if groups == 1 else "intervals say little"
        warn(f"the documents are {groups} group{'s' if groups > 1 else ''} (`group`), too few to draw from: {what}")


def interval(found: Any) -> str:
    """A figure and its interval."""
    if np.isnan(found.value):
        return ""
    return f"{found.value:.4f} [{'unknown' if np.isnan(found.low) else f'{found.low:.4f}, {found.high:.4f}'}]"


def difference(found: Any) -> str:
    """A difference and its interval; a star where that excludes 0."""
    if np.isnan(found.value):
        return ""
    if np.isnan(found.low):
        return f"{found.value:+.4f} [unknown]"
    sure = " *" if found.low > 0 or found.high < 0 else ""
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]{sure}"


def bounds(found: Sequence[float] | None) -> str:
    """Lower bound, figure, upper bound."""
    return "" if found is None else f"{found[1]:.3f} [{found[0]:.3f}, {found[2]:.3f}]"


def number(value: float) -> str:
    """A figure, or nothing."""
    return "" if np.isnan(value) else f"{value:.4f}"


def below(value: float) -> str:
    """A bound."""
    return "" if np.isnan(value) else f"< {value:.4f}"
