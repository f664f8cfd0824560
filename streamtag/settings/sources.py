"""Putting settings from several sources over each other, and explaining what is wrong with the result.

Knows nothing of particular settings: it reads names and types off the pydantic model it is given.
"""

import difflib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from streamtag import strict_yaml
from streamtag.errors import SettingsError

_UNION_MEMBERS = ("str", "int", "float", "bool")
_HINT = "`streamtag config show` lists every setting with its value and meaning."


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a settings file.

    Raises:
        SettingsError: it cannot be read, is not YAML, or holds no mapping. Values are not quoted: some are secret.
    """
    try:
        loaded = strict_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"cannot read settings file {path}: {error.strerror}", hint="Give its path by --config or STREAMTAG_CONFIG."
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"settings file {path} is not UTF-8 text") from None
    except ValueError as error:
        raise SettingsError(f"settings file {path} is not YAML: {error}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise SettingsError(f"settings file {path} must hold a mapping of sections", hint=_HINT)
    return loaded


class Sources:
    """Raw values from all sources, each put over the ones before, and where each came from.

    Args:
        model: the settings tree; fields that are models themselves are sections, one level deep.
    """

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model
        self._sections: dict[str, type[BaseModel]] = {
            name: field.annotation
            for name, field in model.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        }
        self.tree: dict[str, Any] = {}
        """What pydantic validates."""
        self.origins: dict[str, str] = {}
        """Dotted name to the source that set it."""

    def origin(self, name: str) -> str:
        """The source that set ``name`` or the mapping around it; ``default`` when none did."""
        parts = name.split(".")
        ends = range(len(parts), 0, -1)
        return next((self.origins[n] for n in (".".join(parts[:end]) for end in ends) if n in self.origins), "default")

    def put(self, name: str, value: Any, origin: str) -> None:
        """Puts one value; a mapping for a section is taken apart, so that it replaces only what it names."""
        path = self._split(name)
        if name in self._sections:
            if not isinstance(value, dict | None):
                raise SettingsError(f"{name} is a section, not a value ({origin})", hint=_HINT)
            for inner, content in (value or {}).items():
                self.put(f"{name}.{inner}", content, origin)
            return
        node = self.tree
        for part in path[:-1]:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise SettingsError(f"{name}: {part} is a value, not a section ({origin})", hint=_HINT)
            node = child
        node[path[-1]] = value
        for covered in [known for known in self.origins if known.startswith(name + ".")]:
            del self.origins[covered]
        self.origins[name] = origin

    def put_text(self, name: str, raw: str, origin: str) -> None:
        """Puts a value that came as text: as it stands where text is wanted (a password may be 0123), else as YAML."""
        if raw in ("null", "~"):
            self.put(name, None, origin)
            return
        try:
            self.put(name, raw if self._wants_text(name) else strict_yaml.load(raw), origin)
        except ValueError as error:
            raise SettingsError(f"{name}: the value is not YAML: {error} ({origin})", hint=_HINT) from None

    def _split(self, name: str) -> list[str]:
        """Dotted name to path; what follows the name of a mapping is one key (``kafka.client.sasl.password``)."""
        parts = name.split(".")
        return [*parts[:2], ".".join(parts[2:])] if len(parts) > 3 and parts[0] in self._sections else parts

    def _wants_text(self, name: str) -> bool:
        path = self._split(name)
        model = self._model
        if path[0] in self._sections and len(path) > 1:
            model = self._sections[path.pop(0)]
        field = model.model_fields.get(path[0])
        if field is None:
            return False
        if len(path) > 1 and typing.get_origin(field.annotation) is dict:
            return _holds_text(typing.get_args(field.annotation)[1])
        return _holds_text(field.annotation)


def explain(error: ValidationError, sources: Sources, known: Sequence[str]) -> SettingsError:
    """Every fault in words: full name, what is wrong, and each source that has a part in it.

    Args:
        error: what pydantic found.
        sources: what it was given.
        known: all settings, to suggest the one that was meant.
    """
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_input=False):
        if problem["type"] == "extra_forbidden":
            lines += _unknown(".".join(str(part) for part in problem["loc"]), sources, known)
        else:
            lines.append(_words(problem, sources))
    return SettingsError("; ".join(dict.fromkeys(lines)), hint=_HINT)


def _unknown(name: str, sources: Sources, known: Sequence[str]) -> list[str]:
    """One line for each setting that stands at or below ``name``."""
    lines = []
    for setting, origin in sources.origins.items():
        if f"{setting}.".startswith(f"{name}."):
            close = difflib.get_close_matches(setting, known, n=1, cutoff=0.75)
            meant = f"; did you mean {close[0]}?" if close else ""
            lines.append(f"{setting}: unknown setting{meant} ({origin})")
    return lines


def _words(problem: ErrorDetails, sources: Sources) -> str:
    path = [str(part) for part in problem["loc"]]
    if path[-1:] and path[-1] in _UNION_MEMBERS:
        # pydantic names every type of the union that it tried.
        path.pop()
        reason = "must be text, a number or a boolean"
    elif problem["type"] == "string_pattern_mismatch":
        reason = f"must match {problem['ctx']['pattern']}"
    else:
        reason = problem["msg"].removeprefix("Value error, ")
    name = ".".join(path)
    # Of a contradiction, the settings that the message names, by whoever set them.
    origins = [
        origin
        for setting, origin in sources.origins.items()
        if f"{setting}.".startswith(f"{name}." if name else "")
        and (len(path) > 1 or setting == name or setting.rpartition(".")[2] in reason)
    ]
    found = ", ".join(dict.fromkeys(origins or [sources.origin(name)]))
    return (f"{name}: " if name else "") + reason + (f" ({found})" if found != "default" else "")


def _holds_text(annotation: Any) -> bool:
    if typing.get_origin(annotation) is Annotated:
        return _holds_text(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return any(_holds_text(option) for option in typing.get_args(annotation))
    return annotation in (str, Path)
