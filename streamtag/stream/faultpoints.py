"""Named moments of the loop at which a fault campaign may strike; in production nothing happens there.

No setting reaches `reached`: only a process started for the purpose (`tests.faults.worker`) replaces it. Callers look
it up in this module each time. A point is passed once per batch, transaction or rebalance, never once per record, and
costs one call of an empty function.
"""

from collections.abc import Callable

POINTS = (
    "connect.after",  # init_transactions has ended what a predecessor left open
    "begin.before",
    "begin.after",
    "produce.before",  # of each batch
    "produce.after",
    "summaries.after",  # the commit summaries are queued, nothing is committed
    "offsets.before",  # flush, with at_least_once
    "offsets.after",
    "commit.before",
    "commit.after",
    "abort.before",
    "abort.after",
    "revoke.before",
    "revoke.after",
    "resolve.after",  # positions are known, reading begins
)
"""In the order in which a transaction passes them."""


def _nothing(_point: str) -> None:
    """What happens at a point outside a campaign."""


reached: Callable[[str], None] = _nothing
"""Called with the name of each point; runs on the thread that reaches it."""
