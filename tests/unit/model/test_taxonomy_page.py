"""docs/howto-taxonomy.md shows a taxonomy that is sound, and says of it what holds."""

import re
from pathlib import Path

from streamtag.model.taxonomy_file import parse_taxonomy

PAGE = Path(__file__).parents[3] / "docs" / "howto-taxonomy.md"


def test_the_example_is_a_sound_taxonomy() -> None:
    found = re.search(r"```yaml\n(taxonomy:.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    taxonomy = parse_taxonomy(found[1], PAGE.name)
    ids = ("identity_hate", "insult", "obscene", "toxic")
    assert taxonomy.translate(ids) == dict(zip(ids, ("hate", "toxic", "toxic", "toxic"), strict=True))
    assert taxonomy.critical("identity_hate")
