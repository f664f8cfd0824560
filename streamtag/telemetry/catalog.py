"""Every metric: name, kind, unit, attributes, what it means, and what to do about it.

Names are OpenTelemetry's (dotted, no unit); Prometheus sees them translated (`prometheus_name`). ``docs/metrics.md``
is generated from this table. Attribute values come from closed sets or from configuration (labels, topics,
partitions), never from content: the SDK folds whatever exceeds its limit of attribute sets into one overflow point.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["counter", "histogram", "gauge"]

# Seconds, from a quick local commit to the longest transaction timeout in use.
_DURATION = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Seconds, from one commit interval to an hour of backlog.
_LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_SIZE = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0)


@dataclass(frozen=True)
class Metric:
    """One row of the table."""

    name: str
    kind: Kind
    unit: str
    """UCUM; ``{…}`` and the empty unit are left out of the Prometheus name."""
    meaning: str
    action: str
    """What a person does when it looks wrong."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name to its known values; an empty tuple where configuration decides them."""
    buckets: tuple[float, ...] = ()
    """Upper bounds, histograms only."""

    @property
    def prometheus_name(self) -> str:
        """The name a Prometheus query uses (of a histogram, without ``_bucket``, ``_sum`` and ``_count``)."""
        name = self.name.replace(".", "_")
        name += {"s": "_seconds", "By": "_bytes"}.get(self.unit, "")
        return name + ("_total" if self.kind == "counter" else "")


METRICS = (
    Metric(
        "streamtag.build.info",
        "gauge",
        "{build}",
        "Always 1; the running versions are its attributes.",
        "Compare across workers after a rollout.",
        {"version": (), "role": (), "python": (), "onnxruntime": (), "librdkafka": ()},
    ),
    Metric(
        "streamtag.process.start_time",
        "gauge",
        "s",
        "Start of the process, Unix time.",
        "Changes often: the process restarts; read the last lines of its log.",
    ),
    Metric(
        "streamtag.records.consumed",
        "counter",
        "{record}",
        "Records taken from a source topic, tombstones included; redone batches count again.",
        "Zero with lag: see streamtag.loop.time and streamtag.held.",
        {"topic": ()},
    ),
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
        buckets=_SIZE,
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
        "streamtag.loop.time",
        "counter",
        "s",
        "Wall time by phase, summed; its rate is the share of one thread.",
        "The largest phase but wait is what to scale or tune; commit: broker latency; infer: more processes.",
        {"phase": ("poll", "decode", "infer", "decide", "emit", "commit", "wait")},
    ),
    Metric(
        "streamtag.transactions",
        "counter",
        "{transaction}",
        "Commit cycles by how they ended; in at_least_once mode, offset commits.",
        "aborted: see streamtag.rewinds; fenced again and again: two workers share a slot (tagger.slot).",
        {"outcome": ("committed", "aborted", "fenced")},
    ),
    Metric(
        "streamtag.commit.duration",
        "histogram",
        "s",
        "From the flush to the committed transaction (or offset commit).",
        "Above tagger.commit_interval_ms: look at broker load, replication and the network.",
        buckets=_DURATION,
    ),
    Metric(
        "streamtag.commit.time",
        "gauge",
        "s",
        "Last successful commit, Unix time.",
        "Old while there is lag: the worker makes no progress; see streamtag.stuck and its log.",
    ),
    Metric(
        "streamtag.commit.waiting",
        "gauge",
        "s",
        "How long the start of the producer, the commit or the abort that is under way has taken so far; 0 when none "
        "is. Above 1 s: unready.",
        "Kafka does not answer this worker: broker, network, or its transaction coordinator.",
    ),
    Metric(
        "streamtag.rewinds",
        "counter",
        "{rewind}",
        "Returns to the last committed positions after an abort; the records are done again.",
        "The log line with the same cause says what failed.",
        {"cause": ()},
    ),
    Metric(
        "streamtag.rebalances",
        "counter",
        "{rebalance}",
        "Partition assignments, revocations and losses seen by this member.",
        "lost: the member was out of the group; raise max_poll_interval_ms or find the stall.",
        {"kind": ("assigned", "revoked", "lost")},
    ),
    Metric(
        "streamtag.partitions.assigned",
        "gauge",
        "{partition}",
        "Source partitions this worker owns.",
        "Zero: more workers than partitions, or not in the group.",
    ),
    Metric(
        "streamtag.lag",
        "gauge",
        "{record}",
        "Records that are not processed yet, up to the end of the partition.",
        "Grows: add workers up to the number of partitions; see streamtag.loop.time first.",
        {"topic": (), "partition": ()},
    ),
    Metric(
        "streamtag.queue.batches",
        "gauge",
        "{batch}",
        "Batches between the polling and the processing thread.",
        "At tagger.queue_batches: processing is the bottleneck.",
    ),
    Metric(
        "streamtag.backpressure.pauses",
        "counter",
        "{pause}",
        "Times partitions were paused because the queue stayed full.",
        "Frequent: add workers, or raise tagger.queue_batches for bursts.",
    ),
    Metric(
        "streamtag.revoke.duration",
        "histogram",
        "s",
        "Work inside a revoke until the transaction was ended or aborted.",
        "Near tagger.revoke_budget_ms: rebalances stall the group.",
        buckets=_DURATION,
    ),
    Metric(
        "streamtag.revoke.overruns",
        "counter",
        "{revoke}",
        "Revokes whose budget ran out, so that the transaction was aborted.",
        "Lower tagger.batch_size or commit_interval_ms, or raise tagger.revoke_budget_ms.",
    ),
    Metric(
        "streamtag.kafka.errors",
        "counter",
        "{error}",
        "Errors that librdkafka reported, by its code.",
        "_TRANSPORT, _ALL_BROKERS_DOWN: the way to the brokers; *_AUTHORIZATION_FAILED: ACLs; `streamtag doctor`.",
        {"code": ()},
    ),
    Metric(
        "streamtag.input.expired",
        "counter",
        "{record}",
        "Offsets skipped because retention deleted them before they were read.",
        "Data is lost to the tagger: raise the topic's retention or the number of workers.",
        {"topic": ()},
    ),
    Metric(
        "streamtag.stuck",
        "gauge",
        "{flag}",
        "1 while work is at hand and nothing has moved for tagger.stuck_after_s; /livez fails too.",
        "The log has the stacks of all threads; restart the worker and report them.",
    ),
    Metric(
        "streamtag.held",
        "gauge",
        "{flag}",
        "1 while processing is held by a stop mark or for want of a release.",
        "/readyz says which; `streamtag dlq group` for a stop, `streamtag release show` for a release.",
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
        buckets=_DURATION,
    ),
    Metric(
        "streamtag.redis.up",
        "gauge",
        "{flag}",
        "1 when the last call to Redis was answered.",
        "0: the last good release keeps deciding; changes do not arrive until Redis is back.",
    ),
    Metric(
        "streamtag.redis.errors",
        "counter",
        "{error}",
        "Calls to Redis that failed or took too long.",
        "`streamtag doctor`; check the network and Redis' slow log.",
        {"operation": ()},
    ),
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
        "streamtag.experiment.events",
        "counter",
        "{event}",
        "Events that a candidate should have scored: scored well, not yet (it is loading for the first time), shed (no "
        "time left), lost to failures (it raised, crashed, hung or cannot be loaded), invalid (no probability). What "
        "the champion decides is the same.",
        "`streamtag fleet --output json` has it by experiment and worker; a rollout can have limits on it.",
        {"outcome": ("scored", "loading", "shed", "failures", "invalid", "dead")},
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
        "streamtag.snapshot.errors",
        "counter",
        "{error}",
        "Failures to write or read the local copy of the last good release.",
        "Free space on state_dir, or fix its permissions; without it a restart needs Redis.",
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
        "streamtag.end_to_end.latency",
        "histogram",
        "s",
        "Record timestamp to commit, of the oldest record in each transaction: an upper bound for its events.",
        "High with lag: backlog; high without: commit interval, batch wait, or the producers' clocks. "
        "`streamtag fleet` has percentiles over events, of the last seconds.",
        buckets=_LATENCY,
    ),
    Metric(
        "streamtag.summaries.read",
        "counter",
        "{summary}",
        "Records of the stats topic that this windower has read; those read again after a restart count again.",
        "Zero while streamtag.lag grows: see streamtag.stuck and the log.",
    ),
    Metric(
        "streamtag.summaries.set_aside",
        "counter",
        "{summary}",
        "Records of the stats topic that are no summary, or contradict themselves; now dead letters, with their bytes.",
        "Who writes to the stats topic? `streamtag dlq list` shows them; panes that miss them say exact: false.",
    ),
    Metric(
        "streamtag.summaries.broken",
        "counter",
        "{summary}",
        "Summaries that do not touch the one before them of their source: positions missing (gap), or counted twice.",
        "The log names source and range; `streamtag ledger` has all of them. Overlaps are normal with at_least_once.",
        {"kind": ("gap", "overlap")},
    ),
    Metric(
        "streamtag.panes.published",
        "counter",
        "{pane}",
        "Panes written: revisions of a pane, and addenda to one that was final. Redone ones count again.",
        "Many addenda: traffic comes later than windows.lateness_ms.",
        {"kind": ("revision", "addendum")},
    ),
    Metric(
        "streamtag.panes.inexact",
        "counter",
        "{pane}",
        "Of them, those with exact: false: positions of a source counted twice, or known to be missing.",
        "`streamtag ledger` names the ranges. No verdict rests on these panes.",
    ),
    Metric(
        "streamtag.panes.newest",
        "gauge",
        "s",
        "End of the newest pane that this windower has written, Unix time.",
        "Older than a minute while traffic flows: windows and verdicts stand still; look at streamtag.lag.",
    ),
    Metric(
        "streamtag.panes.open",
        "gauge",
        "{pane}",
        "Panes kept open, of all shards of this windower.",
        "At windows.max_open: traffic spans more record time than that; the earliest panes get addenda.",
    ),
    Metric(
        "streamtag.panes.read",
        "counter",
        "{record}",
        "Records of the panes topic taken by `streamtag stats`; repeated ones change nothing.",
        "Zero while streamtag.panes.published grows: it stands still; see its readiness.",
        {"outcome": ("applied", "repeated")},
    ),
    Metric(
        "streamtag.panes.position",
        "gauge",
        "{offset}",
        "Position of the panes topic up to which windows in Redis are added up. Absent in an app that stands by.",
        "Stands still while panes are published: look at Redis and at the log of `streamtag stats`.",
    ),
    Metric(
        "streamtag.panes.reread",
        "counter",
        "{record}",
        "Panes read from the topic again, as what feeds windows had skipped them, or after a restart.",
        "Grows without restarts: Faust skips input; nothing is lost, but report it.",
    ),
    Metric(
        "streamtag.panes.unreadable",
        "counter",
        "{record}",
        "Records of the panes topic that are no panes of this version; passed by, and no verdict rests on that.",
        "Something else writes to the topic, or a newer windower: upgrade `streamtag stats` first.",
    ),
    Metric(
        "streamtag.panes.expired",
        "counter",
        "{record}",
        "Panes that expired before they were read; windows lack them.",
        "These windows stay as they are, a rebuild needs the panes too: raise retention.ms above the longest outage.",
    ),
    Metric(
        "streamtag.panes.waits",
        "counter",
        "{try}",
        "Times that `streamtag stats` waited for Redis or Kafka before it went on.",
        "Look at Redis and at the brokers.",
    ),
    Metric(
        "streamtag.label.rate",
        "gauge",
        "",
        "Share of the events of the newest window of this size that a label was tagged on; shadow scores do not count.",
        "A step without a release: `streamtag stats show` compares with the last hour and week.",
        {"label": (), "window": ("1m", "5m", "1h", "1d")},
    ),
    Metric(
        "streamtag.label.signal",
        "gauge",
        "",
        "1 where a label behaved differently in the last full window of 5 min than in the full hour before it.",
        "`streamtag stats show` has the figures: a new release, or other traffic? It is a signal, no verdict.",
        {"label": (), "signal": ("score_drift", "association", "never", "always", "same_set")},
    ),
    Metric(
        "streamtag.api.duration",
        "histogram",
        "s",
        "From the first byte of a request to the end of its answer.",
        "429 means more scoring than one process can do: start another, or raise api.max_waiting.",
        {"method": (), "route": (), "status": ()},
        _DURATION,
    ),
    Metric(
        "streamtag.api.waiting",
        "gauge",
        "{event}",
        "Events of scoring requests that wait or are being scored.",
        "Near api.max_waiting requests are refused with 429: start another `streamtag api`.",
    ),
    Metric(
        "streamtag.label.psi",
        "gauge",
        "",
        "Population stability index of a label's scores: the last full window of 5 min against the full hour before. "
        "Absent while either has too few events to tell.",
        "Compare it with streamtag.label.psi.critical, not with 0.1 or 0.25: what chance explains depends on events.",
        {"label": ()},
    ),
    Metric(
        "streamtag.label.psi.critical",
        "gauge",
        "",
        "What the index exceeds with a chance of 5 %, for any of the labels, while scores are spread as they were.",
        "An index above it raises streamtag.label.signal (score_drift); the index says how large the drift is.",
        {"label": ()},
    ),
    Metric(
        "streamtag.stats.restarts",
        "counter",
        "{restart}",
        "Times that the supervisor started the Faust app again.",
        "The log has the reason; it goes on where the windows in Redis end.",
    ),
    Metric(
        "streamtag.trace.invalid",
        "counter",
        "{record}",
        "Records whose traceparent header does not follow W3C Trace Context; it was ignored.",
        "Fix the producer's instrumentation; tagging is not affected.",
    ),
)
