"""What every process says of itself and of the services it needs."""

from streamtag.telemetry.catalog.metric import Metric

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
        "streamtag.stuck",
        "gauge",
        "{flag}",
        "1 while work is at hand and nothing has moved for tagger.stuck_after_s; /livez fails too.",
        "The log has the stacks of all threads; restart the worker and report them.",
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
)
