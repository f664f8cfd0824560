"""What docs/howto-secure.md tells people to paste, as tests use it: the page and what is tested cannot drift apart."""

import argparse
import re
import shlex
from itertools import product
from pathlib import Path

import msgspec
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from streamtag import strict_yaml

PAGE = (Path(__file__).parents[1] / "docs" / "howto-secure.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The only block of this language."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def settings() -> dict[str, str]:
    """The team's file, as dotted settings in text."""
    found: dict[str, str] = {}

    def add(name: str, value: object) -> None:
        if isinstance(value, dict):
            for inner, content in value.items():
                add(f"{name}.{inner}" if name else inner, content)
        else:
            found[name] = value if isinstance(value, str) else msgspec.json.encode(value).decode()

    add("", strict_yaml.load(block("yaml")))
    return found


def variables() -> dict[str, str]:
    """Environment variable to setting, of the table of secrets."""
    rows = re.findall(r"^\| `([a-z_.]+)`[^|]*\| `(STREAMTAG_[A-Z_]+)` \|$", PAGE, re.MULTILINE)
    return {variable: setting for setting, variable in rows}


def acls() -> list[AclBinding]:
    """All rights that the lines beginning with ``acl`` give."""
    return [right for line in re.findall(r"^acl (team-.+)$", PAGE, re.MULTILINE) for right in _rights(line)]


def redis_commands(password: str) -> list[list[str]]:
    """Commands for Redis, in words."""
    return [shlex.split(line.replace("PASSWORD", password)) for line in block("redis").splitlines()]


def _rights(line: str) -> list[AclBinding]:
    parser = argparse.ArgumentParser()
    parser.add_argument("user")
    parser.add_argument("--operation", action="append")
    parser.add_argument("--resource-pattern-type", default="literal")
    for kind in ("topic", "group", "transactional-id"):
        parser.add_argument(f"--{kind}", action="append", default=[])
    given = parser.parse_args(shlex.split(line))
    resources = [
        (kind, name)
        for kind, names in (
            (ResourceType.TOPIC, given.topic),
            (ResourceType.GROUP, given.group),
            (ResourceType.TRANSACTIONAL_ID, given.transactional_id),
        )
        for name in names
    ]
    return [
        AclBinding(
            kind,
            name,
            ResourcePatternType[given.resource_pattern_type.upper()],
            f"User:{given.user}",
            "*",
            AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()],
            AclPermissionType.ALLOW,
        )
        for (kind, name), operation in product(resources, given.operation)
    ]
