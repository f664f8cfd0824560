"""The errors a person may see. Each says what was wrong, where, and what to do; each has an exit code."""

from collections.abc import Sequence
from typing import TypeVar

E = TypeVar("E", bound=BaseException)


class StreamtagError(Exception):
    """Base of every error that streamtag raises on purpose.

    Args:
        message: what was wrong and where (field, topic, offset, path …).
        hint: what to do about it, as a full sentence; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(StreamtagError):
    """An unknown, ill-typed or contradictory setting. Raised before anything starts."""

    exit_code = 2


class RefusedError(StreamtagError):
    """A change that validation refuses (thresholds, bundle, release). Names *every* problem, not the first."""

    exit_code = 3

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class NotFoundError(StreamtagError):
    """Something that was asked for by name does not exist."""

    exit_code = 4


class ConflictError(StreamtagError):
    """Somebody else changed it first; nothing was written. The message names who, when and what."""

    exit_code = 5


class UnavailableError(StreamtagError):
    """Kafka, Redis or another service cannot be reached in time."""

    exit_code = 6


class BundleError(RefusedError):
    """A model bundle with a wrong hash, failing parity, or a shape that its manifest does not promise."""


def without_frames(error: E) -> E:
    """The same, without the frames that it was raised through, and without what led to it.

    For errors that are kept. Frames hold their local variables: in a list of one of them, an error makes a cycle, and
    all that was in hand (a batch, a transaction) stays in memory until the collector comes across it.
    """
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)
