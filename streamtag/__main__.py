"""``python -m streamtag``."""

from streamtag.cli.main import main

main()
