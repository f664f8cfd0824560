"""The other side of `candidate.py`: loads a bundle, with all its gates, and scores documents until its input ends."""

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.domain.scores import from_micro
from streamtag.events.content import ContentEvent
from streamtag.model.loading import load_scorer
from streamtag.model.scorer import Scorer
from streamtag.tagger.candidate import read_frame, write_frame
from streamtag.tagger.rerank import Budget, Limits, infer_stages

_NICE = 19  # the champion comes first; SCHED_IDLE was no better: its wait for answers grew
_AUTOGROUP = Path("/proc/self/autogroup")
_TRIES, _PAUSE_S = 5, 0.2
_Asked = tuple[list[bytes | None], bytes | None, list[bytes] | None]
"""Texts (None: the event has none), features as JSON, ids."""


def main() -> None:
    """Frames in: documents, msgpack; frames out: scores, float32. The first frame out says that it is ready."""
    bundle, sha256, batch = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    _step_back()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not stand among the answers
    asked = _questions()
    scorer = load_scorer(bundle, batch=batch, sha256=sha256)
    budget = Budget(Limits(*json.loads(sys.argv[4]))) if len(sys.argv) > 4 else None
    write_frame(answers, b"ready")
    while True:
        encoded, also, ids = msgspec.msgpack.decode(asked.get(), type=_Asked)
        texts = [None if text is None else text.decode("utf-8", "surrogatepass") for text in encoded]
        features = None if also is None else json.loads(also)
        if ids is None:
            scores = _by_one(scorer, texts, features)
        else:
            scores = _by_stages(scorer, budget, [one.decode("utf-8", "surrogatepass") for one in ids], texts, features)
        write_frame(answers, np.ascontiguousarray(scores, dtype=np.float32).tobytes())


def _step_back() -> None:
    """Lets everybody else go first: within its session, and with its session among those of the machine.

    Linux shares processors between sessions first (sched_autogroup): a candidate that computes without an end would
    take from the broker what is the tagger's if it were in its session, and count as much as either in its own, however
    nice it is, if that session were not nice, too.
    """
    os.nice(_NICE)
    for _ in range(_TRIES):
        try:
            _AUTOGROUP.write_text(str(_NICE), encoding="ascii")
        except BlockingIOError:  # one change in a tenth of a second, of all who may not administer the system
            time.sleep(_PAUSE_S)
        except OSError:  # no sessions to share between
            return
        else:
            return


def _by_one(scorer: Scorer, texts: Sequence[str | None], features: Any) -> NDArray[np.float32]:
    """What `Candidate.answer` gives of a bundle with one stage; where a text is missing that it reads, NaN."""
    scores = scorer.score([text or "" for text in texts], features)
    if scorer.reads_text:  # as the champion, it would set such an event aside
        scores[[i for i, text in enumerate(texts) if text is None]] = np.nan
    return scores


def _by_stages(
    scorer: Scorer, budget: Budget | None, ids: Sequence[str], texts: Sequence[str | None], features: Any
) -> NDArray[np.float32]:
    """What `Candidate.answer` gives of a bundle with two stages; rows without scores are NaN."""
    rows = features or [None] * len(texts)
    events = [ContentEvent(name, text, features=row) for name, text, row in zip(ids, texts, rows, strict=True)]
    found = infer_stages(events, scorer, budget)
    assert found.stages is not None, "the bundle has two stages"
    # On the grid of a millionth nothing is lost in float32: `to_micro` gives the same integers back.
    columns = (from_micro(found.micro), from_micro(found.stages.first), found.stages.route[:, None])
    scores = np.concatenate(columns, axis=1).astype(np.float32)
    scores[list(found.refused)] = np.nan
    return scores


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
