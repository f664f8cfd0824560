"""The other side of `candidate.py`: loads a bundle, with all its gates, and scores documents until its input ends."""

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from streamtag.model.bundle import read_bundle
from streamtag.model.loading import load_scorer
from streamtag.tagger.candidate import read_frame, write_frame

_NICE = 19


def main() -> None:
    """Frames in: documents, msgpack; frames out: scores, float32. The first frame out says that it is ready."""
    bundle, batch = Path(sys.argv[1]), int(sys.argv[2])
    _give_way()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not stand among the answers
    asked = _questions()
    scorer = load_scorer(read_bundle(bundle).path, batch=batch)
    write_frame(answers, b"ready")
    while True:
        encoded, also = msgspec.msgpack.decode(asked.get(), type=tuple[list[bytes], bytes | None])
        texts = [text.decode("utf-8", "surrogatepass") for text in encoded]
        scores = scorer.score(texts, None if also is None else json.loads(also))
        write_frame(answers, np.ascontiguousarray(scores, dtype=np.float32).tobytes())


def _give_way() -> None:
    """The champion comes first: on Linux this process runs only where nothing else wants to, and yields at once."""
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(_NICE)


def _questions() -> "queue.SimpleQueue[bytes]":
    """What comes in. Its end is that of the process, at once: a model that hangs would outlive a killed tagger."""
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(os.fdopen(os.dup(0), "rb"), asked), daemon=True).start()
    return asked


def _read(stream: IO[bytes], asked: "queue.SimpleQueue[bytes]") -> None:
    while True:
        try:
            asked.put(read_frame(stream))
        except EOFError:
            os._exit(0)


if __name__ == "__main__":
    main()
