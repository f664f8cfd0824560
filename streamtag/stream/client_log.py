"""What librdkafka has to say, in the log; while a broker is away it would say it several times a second."""

import logging

from streamtag.telemetry.repeats import Repeats


class ClientLog:
    """Pass as ``logger=`` to a client: of each kind of line (``FAIL``, ``REQTMOUT``, …) one a minute and broker.

    Keep one for all clients that are made alike: many are made anew for as long as a broker is away.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._repeats = Repeats()

    def log(self, level: int, line: str, facility: str, client: str, text: str) -> None:
        """Called by the client; ``line`` is a format for the rest."""
        # Each broker has a thread: "[thrd:host:port/id]: …".
        thread = text.partition("]: ")[0] if text.startswith("[thrd:") else ""
        left_out = self._repeats.left_out((facility, thread))
        if left_out is not None:
            self._log.log(level, line, facility, client, text, extra={"left_out": left_out} if left_out else None)
