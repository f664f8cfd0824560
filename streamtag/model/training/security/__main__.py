"""``python -m streamtag.model.training.security``: train the bundle that ships, or one of another configuration."""

import argparse
import sys
from pathlib import Path

from streamtag.errors import StreamtagError
from streamtag.model.training.security.bundle import CONFIG, make_security
from streamtag.model.training.security.fit import read_config


def main() -> None:
    """``python -m streamtag.model.training.security --data DIR --out BUNDLES``."""
    parser = argparse.ArgumentParser(description="Train the bundle `security`, measure it and write it.")
    parser.add_argument("--data", type=Path, required=True, help="directory with a folder for each set")
    parser.add_argument("--out", type=Path, required=True, help="directory of bundles to write <name>/<version>/ into")
    parser.add_argument("--version", default="2")
    parser.add_argument("--config", type=Path, default=CONFIG)
    given = parser.parse_args()

    def report(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    try:
        config = read_config(given.config)
        print(make_security(given.data, given.out, version=given.version, config=config, report=report))
    except StreamtagError as error:
        problems = "".join(f"\n  {problem}" for problem in getattr(error, "problems", ()))
        sys.exit(f"{error.message}{problems}\n{error.hint}".rstrip())


main()
