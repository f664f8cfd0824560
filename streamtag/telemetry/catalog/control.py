"""Changes, experiments and rollouts, and the HTTP API."""

from streamtag.telemetry.catalog.metric import DURATION, Metric

METRICS = (
    Metric(
        "streamtag.rollout.actions",
        "counter",
        "{action}",
        "Steps of guarded rollouts: a larger share, a candidate taken back or promoted, a person asked to decide.",
        "ask, return: `streamtag experiment list` and `show` say which one, and why.",
        {"action": ("ramp", "return", "promote", "ask")},
    ),
    Metric(
        "streamtag.rollout.errors",
        "counter",
        "{error}",
        "Steps of guarded rollouts that the control plane refused; tried again at every look.",
        "The log of `streamtag stats` says why; `streamtag doctor` looks at Redis.",
    ),
    Metric(
        "streamtag.breaker.open",
        "gauge",
        "{breaker}",
        "1 while a label is turned to review only, as it was tagged too often; 0 once it is trusted again.",
        "`streamtag breaker list` says why, `streamtag stats show` what it does; then a threshold, "
        'or `streamtag breaker close LABEL --reason "…"`.',
        {"label": ()},
    ),
    Metric(
        "streamtag.breaker.flips",
        "counter",
        "{flip}",
        "Breakers that opened or closed by their rule.",
        "Often for one label: its bound (breakers.rates) is too near to what it does on ordinary days.",
        {"label": (), "action": ("open", "close")},
    ),
    Metric(
        "streamtag.changes.done",
        "counter",
        "{change}",
        "Change requests that went live at their hour, or back when their time had ended.",
        "`streamtag change show` says which, and what stayed as it was.",
        {"action": ("publish", "expire")},
    ),
    Metric(
        "streamtag.changes.held",
        "gauge",
        "{change}",
        "Change requests that are due and cannot be done: frozen, changed by others, refused. Tried again each second.",
        "The log says why, `streamtag change show` too; withdraw it, or lift the freeze.",
    ),
    Metric(
        "streamtag.experiment.errors",
        "counter",
        "{error}",
        "Experiments that cannot be followed on this worker, as a document or bundle is missing or wrong.",
        "The log says which and why; the experiment goes on without this worker.",
    ),
    Metric(
        "streamtag.experiment.verdicts",
        "counter",
        "{verdict}",
        "Verdicts stored, each computed again from the panes before.",
        "`streamtag experiment show` says why; INVALID means that events are lost, doubled or misrouted.",
        {"state": ("PASS", "FAIL", "INCONCLUSIVE", "INVALID")},
    ),
    Metric(
        "streamtag.experiment.unconfirmed",
        "counter",
        "{verdict}",
        "Verdicts that the panes did not confirm when they were computed again, and that were not stored.",
        "A defect, or expired panes: keep the log and the panes topic, stop the experiment.",
    ),
    Metric(
        "streamtag.api.duration",
        "histogram",
        "s",
        "From the first byte of a request to the end of its answer.",
        "429 means more scoring than one process can do: start another, or raise api.max_waiting.",
        {"method": (), "route": (), "status": ()},
        DURATION,
    ),
    Metric(
        "streamtag.api.waiting",
        "gauge",
        "{event}",
        "Events of scoring requests that wait or are being scored.",
        "Near api.max_waiting requests are refused with 429: start another `streamtag api`.",
    ),
)
