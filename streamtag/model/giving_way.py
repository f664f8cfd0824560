"""A load beside a running stream lets the stream go on."""

import threading
import time

__all__ = ["TURN_S", "give_way"]

TURN_S = 0.004
"""Seconds; a run of the model takes about as long."""


def give_way() -> None:
    """Lets the other threads run, between two steps of a load that hold the interpreter for milliseconds each.

    Without it one run of the model meets several of them in a row, and takes 20 ms longer (docs/benchmarks.md).
    In the main thread nothing happens: there the process has nothing else to do than to load.
    """
    if threading.current_thread() is not threading.main_thread():
        time.sleep(TURN_S)
