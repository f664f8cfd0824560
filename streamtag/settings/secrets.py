"""What of a setting may be shown: never a password, a token or a key."""

import re
from urllib.parse import urlsplit

MASK = "********"

_SECRET_NAME = re.compile(r"password|passwd|secret|token|key|credential|oauthbearer\.config", re.IGNORECASE)
_PUBLIC = frozenset({"model.trusted_keys"})
"""Keys that are no secrets: those that signatures are checked with."""
_SECRET_PARAMETER = re.compile(r"((?:password|passwd|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)


def shown(name: str, value: object) -> object:
    """``value`` of the setting or option ``name`` as people may see it."""
    if isinstance(value, list):
        return [shown(name, each) for each in value]
    if _SECRET_NAME.search(name) and name not in _PUBLIC:
        return MASK if value not in (None, "") else value
    if isinstance(value, str) and "://" in value:
        return shown_url(value)
    return value


def shown_url(url: str) -> str:
    """A URL without the password before its host, and without secrets in its query.

    A lone user name stays: it says who connects.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    credentials, at, host = parts.netloc.rpartition("@")
    if ":" in credentials:
        user = credentials.partition(":")[0]
        url = url.replace(parts.netloc, f"{user}:{MASK}{at}{host}", 1)
    if parts.query:
        url = url.replace(parts.query, _SECRET_PARAMETER.sub(rf"\g<1>{MASK}", parts.query), 1)
    return url
