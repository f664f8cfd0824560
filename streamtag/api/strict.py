"""Requests that bring what JSON says, and nothing that only looks like it: no "1" for 1, no 0 for false.

What is wrong with one takes no more memory than what is right with it.
"""

from typing import Annotated, Any, Self

from pydantic import AllowInfNan, BaseModel, ModelWrapValidatorHandler, Strict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

__all__ = ["MOST_FIELDS", "MOST_PROBLEMS", "Flag", "Number", "RequestBody", "Whole", "too_many_fields"]

Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]

MOST_FIELDS = 100
"""No object of ours has more, but those whose keys are names."""
MOST_PROBLEMS = 100
"""So many are told of one request."""


class RequestBody(BaseModel):
    """What a request brings. A problem of each of a million fields would take more memory than the fields do."""

    @model_validator(mode="wrap")
    @classmethod
    def _bounded(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(given, dict) and len(given) > MOST_FIELDS:
            raise too_many_fields()
        try:
            return validate(given)
        except ValidationError as error:
            if error.error_count() <= MOST_PROBLEMS:
                raise
        raise PydanticCustomError("too_many_problems", "more than {most} fields are not valid", {"most": MOST_PROBLEMS})


def too_many_fields() -> PydanticCustomError:
    """An object has fields without end."""
    return PydanticCustomError("too_many_fields", "an object has more than {most} fields", {"most": MOST_FIELDS})
