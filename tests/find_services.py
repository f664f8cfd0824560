"""Says where the tests take Kafka, Redis and Chromium from, or once and clearly what to install; exit code 6 then."""

import sys
from collections.abc import Callable

from chromium import find_chromium

from streamtag.devstack.kafka import find_kafka
from streamtag.devstack.redis import find_redis
from streamtag.errors import UnavailableError

_FIND: dict[str, Callable[[], str]] = {
    "kafka": lambda: find_kafka().kind,
    "redis": lambda: find_redis().kind,
    "chromium": find_chromium,
}


def main() -> int:
    """Looks for those that are named; as root on Debian, a missing Redis or Chromium is installed."""
    code = 0
    for name in sys.argv[1:]:
        try:
            sys.stdout.write(f"{name}: {_FIND[name]()}\n")
        except UnavailableError as error:
            sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
            code = error.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
