"""Fields of requests that take what JSON says, and nothing that only looks like it: no "1" for 1, no 0 for false."""

from typing import Annotated

from pydantic import AllowInfNan, Strict

__all__ = ["Flag", "Number", "Whole"]

Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
