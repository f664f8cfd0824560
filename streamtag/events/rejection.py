"""Why one record cannot be processed. Becomes a dead letter; never stops its neighbours."""

from enum import StrEnum


class ErrorClass(StrEnum):
    """Stable names for `error.class` of dead letters and for metrics. Never renamed, only added to."""

    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    INVALID_CSV = "invalid_csv"
    DUPLICATE_KEY = "duplicate_key"
    TOO_DEEP = "too_deep"
    TOO_MANY_VALUES = "too_many_values"
    TOO_LARGE = "too_large"
    TEXT_TOO_LONG = "text_too_long"
    FIELD_TOO_LONG = "field_too_long"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    EMPTY_ID = "empty_id"
    UNSUPPORTED_CLOUDEVENT = "unsupported_cloudevent"
    MAPPING = "mapping"
    SCORER_ERROR = "scorer_error"
    INVALID_SCORE = "invalid_score"
    INVALID_FEATURE = "invalid_feature"
    INVALID_SUMMARY = "invalid_summary"


class Rejected(Exception):  # noqa: N818 - it is an outcome of a record, not a failure of the program
    """One record is refused.

    Args:
        error_class: stable name.
        stage: ``decode`` or ``infer``.
        field: JSON Pointer or field name, ``""`` for the record as a whole.
        message: what was wrong, without any content of the record.
    """

    def __init__(self, error_class: ErrorClass, *, stage: str, field: str = "", message: str = "") -> None:
        super().__init__(message or error_class.value)
        self.error_class = error_class
        self.stage = stage
        self.field = field
        self.message = message or error_class.value
