"""YAML as people expect it: the scalars of YAML 1.2, and no key twice.

PyYAML follows YAML 1.1, where ``no`` (Norwegian) is false, ``010`` is eight, ``10:30`` is 630 and an unquoted date is
an object; and where a key may stand twice, the last one winning in silence.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml


def load(text: str) -> Any:
    """Reads one document; None when it is empty.

    Raises:
        ValueError: not YAML, or a key stands twice; names line and column, and quotes no values (they may be secret).
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error).partition("\n")[0]) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dump(value: Any) -> str:
    """Writes one document of plain values that `load` reads back exactly: a text that looks like a number is quoted."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as the base class has it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a list as key", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# The core schema of YAML 1.2 (§10.3.2), less octal and hexadecimal numbers, which no setting needs.
for _tag, _pattern, _first in (
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def _int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    # SafeLoader's own would read "010" as octal.
    return int(str(loader.construct_scalar(node)))


_Loader.add_constructor("tag:yaml.org,2002:int", _int)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers  # it quotes what they would take for something else


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Within single quotes these line ends would be read back as others, or not at all.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _LINE_ENDS.search(text) else None)


_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_Dumper.add_representer(str, _text)
