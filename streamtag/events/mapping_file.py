"""Reads and validates mapping files (YAML). Every fault of a file is named at once, before anything starts."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from streamtag import strict_yaml
from streamtag.errors import SettingsError
from streamtag.events.content import ContentEvent
from streamtag.events.json_pointer import JsonPointer
from streamtag.events.mapping import Constant, Epoch, FirstOf, Join, Json, RecordMapping, Source

SHIPPED = ("osprey", "ecs", "ocsf", "log", "raw")
POSITION = "position"  # as a source of the id: <topic>/<partition>/<offset>

_FIELDS = tuple(name for name in ContentEvent.__struct_fields__ if name != "features")
_HINT = (
    "A source is a JSON Pointer ('/a/b'), a list of them (first present wins), {join: [...], separator: ' '}, "
    "{constant: text}, for text {json: /a} ('' is all of the record), or for time {epoch_ms: /a} or {epoch_s: /a}; "
    "see docs/reference-events.md."
)


class _Fault(Exception):  # noqa: N818 - collected, never seen outside
    pass


def load_mapping(spec: Path) -> RecordMapping:
    """A shipped mapping by its name, or one from a file.

    Raises:
        SettingsError: names the file, each faulty field and what is allowed.
    """
    name = str(spec)
    if name in SHIPPED:
        text = (resources.files("streamtag.events") / "mappings" / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        try:
            text = spec.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise SettingsError(
                f"events.mapping: cannot read mapping file {name}: {reason}",
                hint=f"Give a path, or one of the shipped mappings: {', '.join(SHIPPED)}.",
            ) from None
    return parse_mapping(text, name)


def parse_mapping(text: str, name: str) -> RecordMapping:
    """A mapping from its YAML; ``name`` is for messages.

    Raises:
        SettingsError: as `load_mapping`.
    """
    try:
        tree = strict_yaml.load(text)
    except ValueError as error:
        raise SettingsError(f"mapping file {name} cannot be read as YAML: {error}") from None
    if not isinstance(tree, dict):
        raise SettingsError(f"mapping file {name} must hold a mapping with the keys format, fields, features")
    faults = [f"{key}: unknown key" for key in tree if key not in ("format", "fields", "features")]
    form = tree.get("format", "json")
    if form not in ("json", "text"):
        faults.append(f"format: must be json or text, not {form!r}")
    declared = tree.get("fields", {})
    if not isinstance(declared, dict):
        raise SettingsError(f"mapping file {name}: fields: must be a mapping of field to source", hint=_HINT)
    fields, position_id = _fields(declared, form, faults)
    features = _features(tree.get("features"), faults)
    faults += _contradictions(form, declared, features)
    if faults:
        raise SettingsError(f"mapping file {name}: {'; '.join(faults)}", hint=_HINT)
    return RecordMapping(name=name, format=form, fields=fields, features=features, position_id=position_id)


def _fields(declared: Mapping[Any, Any], form: str, faults: list[str]) -> tuple[dict[str, Source], bool]:
    fields: dict[str, Source] = {}
    position_id = "id" not in declared
    for field, spec in declared.items():
        if field not in _FIELDS:
            faults.append(f"fields.{field}: unknown field, known are {', '.join(_FIELDS)}")
            continue
        source = spec
        if field == "id":
            position_id, source = _without_position(spec)
            if source is None:
                continue
        try:
            fields[field] = _source(source, field)
        except _Fault as fault:
            faults.append(f"fields.{field}: {fault}")
            continue
        if form == "text" and not isinstance(fields[field], Constant):
            faults.append(f"fields.{field}: a text record has no pointers, only a constant is possible")
    return fields, position_id


def _without_position(spec: Any) -> tuple[bool, Any]:
    """Whether the id may be the position, and the rest of its source (None: no other source)."""
    if spec == POSITION:
        return True, None
    if isinstance(spec, list) and spec and spec[-1] == POSITION:
        return True, spec[:-1] or None
    return False, spec


def _contradictions(form: str, declared: Mapping[Any, Any], features: object) -> list[str]:
    if form == "text":
        found = ["fields.text: the whole record is the text"] if "text" in declared else []
        return found + (["features: a text record has none"] if features is not None else [])
    return [] if "text" in declared or features is not None else ["fields.text or features must be declared"]


def _source(spec: Any, field: str) -> Source:
    if not isinstance(spec, dict):
        return _first_of(spec)
    kinds = set(spec) - {"separator"}
    if kinds == {"join"}:
        return _join(spec)
    if "separator" in spec:
        raise _Fault("separator goes with join only")
    if kinds == {"constant"}:
        return _constant(spec["constant"])
    if field == "text" and kinds == {"json"}:
        return Json(_pointer(spec["json"]))
    if field == "time" and kinds in ({"epoch_ms"}, {"epoch_s"}):
        ((unit, pointer),) = spec.items()
        return Epoch(_pointer(pointer), unit)
    raise _Fault(f"no source: {', '.join(sorted(map(str, spec))) or 'empty'}")


def _join(spec: Mapping[str, Any]) -> Join:
    parts, separator = spec["join"], spec.get("separator", " ")
    if not isinstance(parts, list) or not parts:
        raise _Fault("join needs a list of pointers")
    if not isinstance(separator, str):
        raise _Fault("separator must be text")
    return Join(tuple(_first_of(part) for part in parts), separator)


def _constant(value: Any) -> Constant:
    if not isinstance(value, str) or not value:
        raise _Fault("a constant must be a text that is not empty (quote numbers)")
    return Constant(value)


def _first_of(spec: Any) -> FirstOf:
    candidates = spec if isinstance(spec, list) else [spec]
    if not candidates:
        raise _Fault("the list of pointers is empty")
    return FirstOf(tuple(_pointer(candidate) for candidate in candidates))


def _pointer(spec: Any) -> JsonPointer:
    if not isinstance(spec, str):
        raise _Fault(f"a JSON Pointer is a text such as '/a/b', not {spec!r}")
    try:
        return JsonPointer(spec)
    except ValueError as error:
        raise _Fault(str(error)) from None


def _features(spec: Any, faults: list[str]) -> JsonPointer | dict[str, FirstOf | Constant] | None:
    if spec is None:
        return None
    try:
        if isinstance(spec, str):
            return _pointer(spec)
    except _Fault as fault:
        faults.append(f"features: {fault}")
        return None
    if not isinstance(spec, dict) or not spec:
        faults.append("features: must be a pointer to an object, or a mapping of name to source")
        return None
    found: dict[str, FirstOf | Constant] = {}
    for name, source in spec.items():
        try:
            found[str(name)] = _feature(source)
        except _Fault as fault:
            faults.append(f"features.{name}: {fault}")
    return found


def _feature(spec: Any) -> FirstOf | Constant:
    if not isinstance(spec, dict):
        return _first_of(spec)
    if set(spec) != {"constant"}:
        raise _Fault("must be a pointer, a list of them or a constant")
    return _constant(spec["constant"])
