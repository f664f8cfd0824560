"""The declarations in `topics/`: what each topic holds and how it is set up; and how a cluster differs from that."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import msgspec

from streamtag import strict_yaml
from streamtag.errors import SettingsError
from streamtag.settings import TopicsSettings

ROLES = ("content", "tags", "stats", "dead-letters", "panes")
BROKER_DEFAULT = -1

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,200}$")]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class HeaderDeclaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One header of a topic's records; an optional one has ``required: false``."""

    name: Text
    description: Text
    required: bool = True


class TopicDeclaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one topic holds and how it is set up.

    Attributes:
        name: of the topic, unless settings name another.
        description: what it holds and how to read it.
        key: meaning of the records' keys.
        partitions: number of them when it is created.
        config: topic configuration, as Kafka names it.
        replication: copies; -1 = the broker's default.
        existing: ``adapt`` brings an existing topic in line; ``keep`` leaves it to whoever owns it.
        value_schema: JSON Schema of the values; None where they are not ours to describe.
        headers: those that streamtag reads or writes.
    """

    name: Name
    description: Text
    key: Text
    partitions: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    config: dict[str, str]
    replication: Annotated[int, msgspec.Meta(ge=-1, le=100)] = BROKER_DEFAULT
    existing: Literal["adapt", "keep"] = "adapt"
    value_schema: dict[str, Any] | None = None
    headers: tuple[HeaderDeclaration, ...] = ()


def directory() -> Path:
    """Where the declarations are: in an installed package inside it, in a checkout at its top."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "topics"
    return packaged if packaged.is_dir() else package.parent / "topics"


def read_declaration(path: Path) -> TopicDeclaration:
    """Reads and validates one file.

    Raises:
        SettingsError: it cannot be read, is not a declaration, or holds a schema that is none; names file and field.
    """
    try:
        tree = strict_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read topic declaration {path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"topic declaration {path}: {error}") from None
    if isinstance(tree, dict) and isinstance(tree.get("config"), dict):
        tree["config"] = {name: _as_kafka_writes_it(value) for name, value in tree["config"].items()}
    try:
        found = msgspec.convert(tree, TopicDeclaration)
    except msgspec.ValidationError as error:
        raise SettingsError(f"topic declaration {path}: {error}") from None
    if found.replication == 0:
        raise SettingsError(f"topic declaration {path}: replication must be at least 1, or -1 for the broker's default")
    for name in _SHRINKING.keys() & found.config.keys():
        if re.fullmatch(r"-?\d+", found.config[name]) is None:
            raise SettingsError(f"topic declaration {path}: config.{name} must be a whole number")
    if found.value_schema is not None:
        try:
            jsonschema.Draft202012Validator.check_schema(found.value_schema)
        except jsonschema.SchemaError as error:
            where = "/".join(str(part) for part in error.absolute_path)
            raise SettingsError(f"topic declaration {path}: value_schema/{where}: {error.message}") from None
    return found


def _as_kafka_writes_it(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


# Lowering one of these deletes records, or refuses those that producers send today.
_SHRINKING = {
    "retention.ms": "records would be deleted earlier",
    "retention.bytes": "records would be deleted earlier",
    "delete.retention.ms": "tombstones would be deleted earlier",
    "max.message.bytes": "records that fit today would be refused",
}


def read_declarations(where: Path | None = None) -> dict[str, TopicDeclaration]:
    """Role (`ROLES`) to declaration, from ``<role>.yaml`` in ``where`` (default: the shipped ones).

    Raises:
        SettingsError: as `read_declaration`.
    """
    base = where or directory()
    return {role: read_declaration(base / f"{role}.yaml") for role in ROLES}


def declared_topics(
    settings: TopicsSettings, declarations: Mapping[str, TopicDeclaration]
) -> dict[str, TopicDeclaration]:
    """The declaration of each topic that ``settings`` name, by its name there."""
    roles = [(name, "content") for name in settings.input]
    roles += [(settings.tags, "tags"), (settings.stats, "stats"), (settings.dead_letters, "dead-letters")]
    roles += [(settings.panes, "panes")]
    return {name: msgspec.structs.replace(declarations[role], name=name) for name, role in roles}


@dataclass(frozen=True)
class ExistingTopic:
    """A topic as a cluster has it; ``config`` holds effective values, the broker's defaults included."""

    partitions: int
    replication: int
    config: Mapping[str, str]


class Remedy(StrEnum):
    """What can be done about a difference."""

    CREATE = "create"
    ADD_PARTITIONS = "add partitions"
    SET = "set"
    KEEP = "keep"  # it belongs to somebody else
    NONE = "none"  # not without losing something


@dataclass(frozen=True)
class Difference:
    """One way in which a topic is not as declared.

    Attributes:
        topic: its name.
        what: ``topic`` (missing as a whole), ``partitions``, ``replication``, or the name of a configuration.
        declared: the value declared.
        actual: the value on the cluster; None where there is none.
        remedy: what `streamtag topics apply` does about it.
        reason: why nothing can, or what the remedy entails; may be empty.
    """

    topic: str
    what: str
    declared: str
    actual: str | None
    remedy: Remedy
    reason: str = ""


def differences(declared: TopicDeclaration, existing: ExistingTopic | None) -> list[Difference]:
    """How a topic differs from its declaration; empty when it does not."""
    if existing is None:
        wanted = f"{declared.partitions} partitions"
        return [Difference(declared.name, "topic", wanted, None, Remedy.CREATE)]
    found = []
    if existing.partitions != declared.partitions:
        found.append(_partitions(declared, existing.partitions))
    if declared.replication not in (BROKER_DEFAULT, existing.replication):
        reason = "needs a reassignment of partitions"
        numbers = str(declared.replication), str(existing.replication)
        found.append(Difference(declared.name, "replication", *numbers, Remedy.NONE, reason))
    for name, wanted in declared.config.items():
        actual = existing.config.get(name)
        if actual != wanted:
            loss = _loss(name, wanted, actual)
            remedy = Remedy.NONE if loss else Remedy.SET
            found.append(Difference(declared.name, name, wanted, actual, remedy, loss))
    if declared.existing == "keep":
        return [replace(difference, remedy=Remedy.KEEP, reason=_FOREIGN) for difference in found]
    return found


_FOREIGN = "left to those who produce to it"


def _partitions(declared: TopicDeclaration, actual: int) -> Difference:
    numbers = str(declared.partitions), str(actual)
    if actual > declared.partitions:
        return Difference(declared.name, "partitions", *numbers, Remedy.NONE, "a topic cannot lose partitions")
    reason = "keys move to other partitions: order per key holds before and after, not across"
    return Difference(declared.name, "partitions", *numbers, Remedy.ADD_PARTITIONS, reason)


def _loss(name: str, wanted: str, actual: str | None) -> str:
    """What setting ``name`` to ``wanted`` would cost; empty when nothing."""
    if name == "cleanup.policy":
        return "records would be deleted under another rule"
    if name in _SHRINKING and actual is not None and _size(wanted) < _size(actual):
        return _SHRINKING[name]
    return ""


def _size(value: str) -> float:
    number = float(value)
    return float("inf") if number < 0 else number  # -1 means no limit
