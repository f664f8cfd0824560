"""Reading `taxonomy.yaml`: all of it, or nothing with every reason."""

from pathlib import Path

import pytest

from streamtag.domain.taxonomy import Retired, Taxonomy, TaxonomyLabel
from streamtag.errors import RefusedError
from streamtag.model.taxonomy_file import parse_taxonomy, read_taxonomy

WHOLE = """
taxonomy: plants
version: 3
labels:
  - {id: plant, name: Plant, owner: garden, since: 1}
  - id: tree
    name: Trees and timber
    owner: forest
    since: 2
    description: Tall and woody.
    critical: true
    parent: plant
    renamed_from: [timber]
  - {id: bush, name: Bush, owner: garden, since: 1, deprecated_by: tree}
retired:
  - {id: hedge, until: 2, replaced_by: bush}
  - {id: moss, until: 3, replaced_by: null}
"""


def test_the_whole_form_is_read(tmp_path: Path) -> None:
    (tmp_path / "taxonomy.yaml").write_text(WHOLE, encoding="utf-8")
    assert read_taxonomy(tmp_path / "taxonomy.yaml") == Taxonomy(
        "plants",
        3,
        (
            TaxonomyLabel("plant", "Plant", "garden", 1),
            TaxonomyLabel("tree", "Trees and timber", "forest", 2, "Tall and woody.", True, "plant", None, ("timber",)),
            TaxonomyLabel("bush", "Bush", "garden", 1, deprecated_by="tree"),
        ),
        (Retired("hedge", 2, "bush"), Retired("moss", 3)),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", ["neither YAML nor JSON"]),
        ("[]", ["the file: must be a mapping"]),
        ("", ["the file: must be a mapping"]),
        ("taxonomy: t\nversion: 1\nlabels: []", ["labels: empty"]),
        ("taxonomy: 3\nversion: x\nextra: 1", ["taxonomy: must be text", "version: must be a whole", "extra: unknown"]),
        ("taxonomy: t\nversion: true\nlabels: {}", ["version: must be a whole number", "labels: must be a list"]),
        ("taxonomy: t\nversion: 1\nlabels: [1]", ["labels[0]: must be a mapping"]),
        (
            "taxonomy: t\nversion: 1\nlabels: [{id: a, since: 1, critical: 1, colour: red}]\nretired: [{until: 2}]",
            [
                "labels.a.critical: must be true or false",
                "labels.a.colour: unknown",
                "labels.a.name: missing",
                "labels.a.owner: missing",
                "retired[0].id: missing",
            ],
        ),
        (
            "taxonomy: t\nversion: 1\nlabels: [{id: a, name: A, owner: o, since: 1, renamed_from: [1]}]",
            ["labels.a.renamed_from: ids must be text"],
        ),
    ],
)
def test_every_fault_is_named_at_once(text: str, said: list[str]) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_taxonomy(text, "taxonomy.yaml")
    told = "\n".join([caught.value.message, *caught.value.problems])
    assert all(part in told for part in said), told
    assert "taxonomy.yaml" in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"nothing\.yaml"):
        read_taxonomy(tmp_path / "nothing.yaml")
