"""Every use of a metric in the code agrees with the table: a slip would otherwise only show when that line runs."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamtag.telemetry.metrics import METRICS

PACKAGE = Path(__file__).parents[3] / "streamtag"
VERBS = {"counter": {"add"}, "histogram": {"record"}, "gauge": {"set", "forget"}}
BY_NAME = {metric.name: metric for metric in METRICS}


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in set().union(*VERBS.values())
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and str(node.args[0].value).startswith("streamtag.")
                # spans have attributes under the same prefix
                and not (isinstance(node.func.value, ast.Name) and node.func.value.id == "span")
            ):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


CALLS = dict(_calls())


def test_the_scan_sees_the_code() -> None:
    assert len(CALLS) > 20


@pytest.mark.parametrize("where", CALLS)
def test_name_verb_attributes_and_values_are_those_of_the_table(where: str) -> None:
    call = CALLS[where]
    assert isinstance(call.func, ast.Attribute)
    assert isinstance(call.args[0], ast.Constant)
    name = call.args[0].value
    assert name in BY_NAME, "not in the table"
    metric = BY_NAME[name]
    assert call.func.attr in VERBS[metric.kind]
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg not in ("n", "value")}
    if None in given:
        return  # **attributes: checked when it runs
    if call.func.attr == "forget":
        assert given.keys() <= set(metric.attributes)
    else:
        assert given.keys() == set(metric.attributes)
    for attribute, value in given.items():
        if isinstance(value, ast.Constant) and metric.attributes[str(attribute)]:
            assert value.value in metric.attributes[str(attribute)]
