"""Says where the tests take Kafka and Redis from, or once and clearly what to install; exit code 6 then."""

import sys

from streamtag.devstack.kafka import find_kafka
from streamtag.devstack.redis import find_redis
from streamtag.errors import UnavailableError


def main() -> int:
    """Looks for both; as root on Debian, a missing Redis is installed, see `find_redis`."""
    code = 0
    for find in (find_kafka, find_redis):
        try:
            source = find()
        except UnavailableError as error:
            sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
            code = error.exit_code
        else:
            sys.stdout.write(f"{find.__name__.removeprefix('find_')}: {source.kind}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
