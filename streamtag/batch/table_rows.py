"""Rows of tables to content events, held to the limits of the stream."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from streamtag.batch.rows import TEXT_FIELDS
from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import ErrorClass, Rejected

__all__ = ["row_event"]


def row_event(fields: Mapping[str, Any], decoder: Decoder, default_id: str) -> ContentEvent:
    """The event of one row.

    Args:
        fields: field to value; None where the row has none.
        decoder: whose limits hold.
        default_id: of a row of a table without ids.

    Raises:
        Rejected: as a record of the stream would be.
    """
    found = dict(fields)
    if found.setdefault("id", default_id) is None:
        raise Rejected(ErrorClass.MISSING_FIELD, stage="decode", field="/id", message="id is missing")
    for field in TEXT_FIELDS:
        value = found.get(field)
        if value is not None and not isinstance(value, str):
            message = f"{field} must be text, not {type(value).__name__}"
            raise Rejected(ErrorClass.WRONG_TYPE, stage="decode", field=f"/{field}", message=message)
    if found.get("features") is not None:
        found["features"] = _features(found["features"])
    return decoder.checked(ContentEvent(**found))


def _features(value: Any) -> dict[str, Any]:
    """Named numbers and words as JSON could have brought them; NaN, which tables have for "none", becomes null."""
    try:
        pairs = dict(value).items()  # a map comes as pairs
    except (TypeError, ValueError):
        message = f"features must be a struct or a map, not {type(value).__name__}"
        raise Rejected(ErrorClass.WRONG_TYPE, stage="decode", field="/features", message=message) from None
    named = {name: item.item() if isinstance(item, np.generic) else item for name, item in pairs}  # as pandas has them
    for name, item in named.items():
        if isinstance(item, float) and math.isnan(item):
            named[name] = None
        elif not isinstance(item, (str, int, float, bool, type(None))) or item in (math.inf, -math.inf):
            message = "a feature must be a finite number, text, a truth value or null"
            raise Rejected(ErrorClass.WRONG_TYPE, stage="decode", field=f"/features/{name}", message=message)
    return named
