"""The content of a dead letter for somebody to look at: personal data masked, bytes that are no text left out."""

from collections.abc import Mapping
from typing import Any

from streamtag.domain.personal_data import mask

__all__ = ["masked"]


def masked(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` as `DeadLetter.content` gives it.

    Example:
        >>> header = {"name": "from", "value": "+49 170 1234567"}
        >>> masked({"key": "anna@example.org", "value_base64": "/w==", "headers": [header]})
        {'key': '[e-mail]', 'headers': [{'name': 'from', 'value': '[phone]'}]}
    """
    return {name: _masked(value) for name, value in content.items() if not name.endswith("_base64")}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [{**masked(one), "name": one["name"]} for one in value]
    return value
