"""What a section of settings is, and the types of values that several sections share."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")]


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{str(path)!r} begins with a home directory that this system does not know") from None


HomePath = Annotated[Path, AfterValidator(_expanded)]


def _place(value: object) -> Path | str:
    if not isinstance(value, str | Path):
        raise ValueError("must be a directory or a URL")  # noqa: TRY004 - pydantic wants a ValueError
    return value if "://" in str(value) else _expanded(Path(value))


# BeforeValidator: as a Path, a URL would lose one of its slashes.
BundlePlace = Annotated[Path | str, BeforeValidator(_place)]
# Of minisign: "Ed", 8 bytes of key id and 32 of the key, as base64.
PublicKey = Annotated[str, Field(pattern=r"^RW[A-Za-z0-9+/]{54}$")]


class Section(BaseModel):
    """A group of settings; refuses names it does not know."""

    # A bare number is a fine name: slot 0, group 42.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
