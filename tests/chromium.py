"""The browser that the console is tested in."""

import shutil

from streamtag.devstack import debian
from streamtag.errors import UnavailableError

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """Its program; as root on Debian, a missing one is installed.

    Raises:
        UnavailableError: there is none; says what to install.
    """
    for _ in range(2):
        found = next(filter(None, map(shutil.which, _NAMES)), None)
        if found is not None:
            return found
        if not debian.install("chromium"):
            break
    raise UnavailableError(
        "no Chromium: the console is tested in one",
        hint="Debian: apt-get install chromium. Without it, `make unit integration` runs everything else.",
    )
