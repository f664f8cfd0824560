"""What the tagger makes of events, and the release by which it does."""

from streamtag.telemetry.catalog.metric import DURATION, LATENCY, SIZE, Metric

METRICS = (
    Metric(
        "streamtag.events.tagged",
        "counter",
        "{event}",
        "Events committed with at least one label.",
        "A step up or down without a release change: the traffic has changed; look at streamtag.label.alerts.",
    ),
    Metric(
        "streamtag.events.clean",
        "counter",
        "{event}",
        "Events committed without a label.",
        "As streamtag.events.tagged.",
    ),
    Metric(
        "streamtag.events.dead",
        "counter",
        "{event}",
        "Records committed as dead letters.",
        "`streamtag dlq group` shows what they have in common; fix the producer or the mapping, then `dlq replay`.",
        {"error_class": (), "stage": ("decode", "infer")},
    ),
    Metric(
        "streamtag.events.skipped",
        "counter",
        "{record}",
        "Tombstones (null values), passed through to the tags topic.",
        "None; unexpected on a topic that is not compacted.",
    ),
    Metric(
        "streamtag.label.alerts",
        "counter",
        "{event}",
        "Events committed with this label; over the events, its alert rate.",
        "A step after a release: `streamtag thresholds history`, "
        'then `streamtag thresholds restore REVISION --reason "…"` to go back.',
        {"label": ()},
    ),
    Metric(
        "streamtag.timestamps.by_arrival",
        "counter",
        "{record}",
        "Records whose timestamp lies too far ahead or back and that were placed by arrival.",
        "Check the producers' clocks, or stats.max_age_s while a backlog is replayed.",
    ),
    Metric(
        "streamtag.batch.size",
        "histogram",
        "{record}",
        "Records handed to one run of decode, infer, decide and emit.",
        "Always 1 under load: raise tagger.batch_wait_ms.",
        buckets=SIZE,
    ),
    Metric(
        "streamtag.batch.bisections",
        "counter",
        "{split}",
        "Batches cut in two because a stage failed on the whole.",
        "Rises with dead letters of stage infer: a text makes the model fail; `streamtag dlq list --stage infer`.",
    ),
    Metric(
        "streamtag.stage2.events",
        "counter",
        "{event}",
        "Events committed under a bundle of two stages: first (nothing was uncertain), band and sample (stage 2 "
        "decided), shed (uncertain, but the budget was spent: stage 1 decided), failed (stage 2 gave no scores).",
        "shed rises: raise tagger.stage2_share (of a slow model stage2_time_share), or narrow the bands (`streamtag "
        "model band`); failed: see the log.",
        {"outcome": ("first", "band", "sample", "shed", "failed")},
    ),
    Metric(
        "streamtag.stage2.time",
        "counter",
        "s",
        "Wall time of stage 2, summed, within the phase infer of streamtag.loop.time; redone batches count again.",
        "Half of the time and events are shed: tagger.stage2_time_share binds; add workers. Most of phase infer: lower "
        "tagger.stage2_share.",
    ),
    Metric(
        "streamtag.features.filled",
        "counter",
        "{value}",
        "Features that an event did not have, or had outside of their range, and that the bundle fills in or cuts back "
        "instead of refusing the event; redone batches count again.",
        "Rises: a producer has ceased to send the feature, or sends it in another unit; scores rest on the default.",
        {"feature": (), "why": ("missing", "outside")},
    ),
    Metric(
        "streamtag.end_to_end.latency",
        "histogram",
        "s",
        "Record timestamp to commit, of the oldest record in each transaction: an upper bound for its events.",
        "High with lag: backlog; high without: commit interval, batch wait, or the producers' clocks. "
        "`streamtag fleet` has percentiles over events, of the last seconds.",
        buckets=LATENCY,
    ),
    Metric(
        "streamtag.trace.invalid",
        "counter",
        "{record}",
        "Records whose traceparent header does not follow W3C Trace Context; it was ignored.",
        "Fix the producer's instrumentation; tagging is not affected.",
    ),
    Metric(
        "streamtag.dead_letters.stop",
        "gauge",
        "{flag}",
        "1 while the dead-letter limit holds this group stopped.",
        '`streamtag dlq group`, fix the cause, then `streamtag dlq resume --reason "…"`.',
    ),
    Metric(
        "streamtag.dead_letters.truncated",
        "counter",
        "{event}",
        "Dead letters too large to keep whole: head, hash and source position were kept.",
        "Raise dead_letters.max_bytes and the topic's max.message.bytes.",
    ),
    Metric(
        "streamtag.release.number",
        "gauge",
        "{release}",
        "Number of the release that decides here.",
        "Differs between workers for longer than seconds: `streamtag fleet`.",
    ),
    Metric(
        "streamtag.release.applied",
        "counter",
        "{release}",
        "Releases that arrived, by what became of them.",
        "refused: the last good one keeps deciding; the log and `streamtag fleet` have the reason.",
        {"outcome": ("applied", "refused")},
    ),
    Metric(
        "streamtag.release.propagation",
        "histogram",
        "s",
        "From the commit of a release in Redis until it was ready to decide here (two clocks).",
        "p99 above 0.25 s: Redis latency, a bundle being loaded, or clocks apart (`streamtag doctor`).",
        buckets=DURATION,
    ),
    Metric(
        "streamtag.snapshot.errors",
        "counter",
        "{error}",
        "Failures to write or read the local copy of the last good release.",
        "Free space on state_dir, or fix its permissions; without it a restart needs Redis.",
    ),
    Metric(
        "streamtag.experiment.events",
        "counter",
        "{event}",
        "Events that a candidate should have scored: scored well, not yet (it is loading for the first time), shed (no "
        "time left), lost to failures (it raised, crashed, hung or cannot be loaded), invalid (no probability). What "
        "the champion decides is the same.",
        "`streamtag fleet --output json` has it by experiment and worker; a rollout can have limits on it.",
        {"outcome": ("scored", "loading", "shed", "failures", "invalid", "dead")},
    ),
)
