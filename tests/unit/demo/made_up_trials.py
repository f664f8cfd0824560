"""Experiments of the demo in each state, for the tests of this room."""

from dataclasses import replace

from streamtag.devstack.demo.challengers import Challenger
from streamtag.devstack.demo.trials import LabelTrial, TrialState

ALLOWED = (1 / 1.2, 1.2)
BAD = Challenger("bad", "loud from 0.02 to 0.005", {"calm": 0.5, "loud": 0.005}, ("loud",))
GOOD = Challenger("good", "calm: hardly changed", {"calm": 0.51, "loud": 0.02}, ("calm",))

WORSE = LabelTrial("loud", 0.08, 0.32, (2.345, 6.1), ALLOWED, "worse", None)
EQUAL = LabelTrial("calm", 0.155, 0.151, (0.9, 1.01), ALLOWED, "equal", None)
OPEN = LabelTrial("calm", 0.155, 0.151, (0.7, 1.3), ALLOWED, "open", 1_200)

NEW = TrialState(1, BAD)
COLLECTING = TrialState(2, GOOD, units=250, after_s=1.2, labels=(OPEN,))
FAILED = TrialState(1, BAD, "FAIL", ("loud: worse by more than its tolerance",), 300, 1.5, (WORSE,))
PASSED = TrialState(2, GOOD, "PASS", ("every judged label moved by less than its tolerance",), 900, 4.5, (EQUAL,))
STOPPED = replace(COLLECTING, state="stopped", reasons=("release 5 decides now: try it",))
