"""Logs and metrics without personal data: routes, statuses, counts and times, never a subject.

Log lines are JSON on standard error. A line names the route template, not the path, so that not even a
mistaken client can put an identifier into it.
"""

import json
import logging
import sys
from datetime import UTC, datetime

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

logger: structlog.stdlib.BoundLogger = structlog.get_logger("consent")

REQUESTS = Counter("consent_http_requests", "HTTP requests.", ("route", "method", "status"))
REQUEST_SECONDS = Histogram("consent_http_request_seconds", "Time to answer.", ("route",))
DECISIONS = Counter("consent_decisions", "Decisions by outcome: recorded, replayed or refused.", ("outcome",))
REASONS = ("need", "much", "trust", "other")
"""Why somebody may have withdrawn: counted, never kept with her."""
WITHDRAWAL_REASONS = Counter(
    "consent_withdrawal_reasons", "Reasons given for a withdrawal; nobody has to give one.", ("reason",)
)
VERDICTS = Counter("consent_gate_verdicts", "Verdicts of POST /v1/gate by reason.", ("reason",))
BATCH_SIZE = Histogram(
    "consent_commit_batch_size",
    "Requests committed together.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
COMMIT_SECONDS = Histogram("consent_commit_seconds", "Time of one commit.")
COMMIT_FAILURES = Counter("consent_commit_failures", "Transactions the database refused.")
BROKEN_SEALS = Counter(
    "consent_broken_seals",
    "Sealed bytes that did not open, by what they are: changed, moved, or sealed under another key.",
    ("what",),
)
USES = Counter("consent_uses", "Uses of profiles by outcome: stored or dropped.", ("outcome",))
KEEPER_RUNS = Counter(
    "consent_keeper_runs", "Rounds of housekeeping by outcome: done or failed.", ("outcome",)
)
SWEPT = Counter("consent_swept_rows", "Rows deleted because their grace or retention was over.")
COSIGN_REQUESTS = Counter(
    "consent_cosign_requests",
    "Checkpoints sent to witnesses by outcome: cosigned, conflict, refused, invalid or unreachable.",
    ("witness", "outcome"),
)
COSIGN_LAG = Gauge(
    "consent_cosign_lag_entries",
    "Entries of the ledgers that a witness has not cosigned, as of the last round.",
    ("witness",),
    multiprocess_mode="mostrecent",
)
COSIGNED_AT = Gauge(
    "consent_cosigned_timestamp_seconds",
    "When a witness last cosigned a checkpoint.",
    ("witness",),
    multiprocess_mode="mostrecent",
)
WAITING = Gauge("consent_committer_waiting", "Requests waiting to be committed.", multiprocess_mode="livesum")
STREAM_SUBSCRIBERS = Gauge("consent_stream_subscribers", "Open streams.", multiprocess_mode="livesum")
STREAM_CUT = Counter(
    "consent_stream_cut", "Streams cut off: the reader fell behind (lag) or took no bytes (write).", ("why",)
)


def configure_logging(level: str) -> None:
    """Write JSON lines to standard error at `level` and above; uvicorn's own loggers join in."""
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_values,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # the one of now: it may be replaced
        cache_logger_on_first_use=False,
    )
    _join_other_loggers(number)


class _JsonLines(logging.Handler):
    """Writes what other packages log in our form, without what they put into their messages.

    The server's own lines are about itself and kept whole; of any other logger only the first line of the
    template is kept, never its arguments: nobody knows what they quote.
    """

    def emit(self, record: logging.LogRecord) -> None:
        own = record.name.split(".")[0] == "uvicorn"
        event: structlog.typing.EventDict = {
            "event": record.getMessage() if own else str(record.msg).partition("\n")[0],
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "exc_info": record.exc_info[1] if record.exc_info else None,
        }
        sys.stderr.write(json.dumps(_without_values(None, "", event), sort_keys=True) + "\n")


def _join_other_loggers(number: int) -> None:
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _JsonLines)]
    root.addHandler(_JsonLines())
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        own = logging.getLogger(name)
        own.handlers = []  # Whatever handlers it brought write lines twice.
        own.propagate = True
        own.setLevel(number)  # An earlier server in this process may have left its own.


def _without_values(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Replace an exception by its type and the places it went through: its message may quote data."""
    error = event.pop("exc_info", None)
    if isinstance(error, BaseException):
        places = []
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            places.append(
                f"{code.co_filename.rpartition('site-packages/')[2]}:{trace.tb_lineno} {code.co_name}"
            )
            trace = trace.tb_next
        event["exception"] = type(error).__name__
        event["trace"] = places
    return event


def render_metrics(multiprocess_directory: str | None) -> bytes:
    """Return the metrics in Prometheus text format; of all workers where a directory is shared."""
    if multiprocess_directory is None:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=multiprocess_directory)  # type: ignore[no-untyped-call]  # untyped there
    return generate_latest(registry)


def sampled(name: str, **labels: str) -> int:
    """Return a metric as this process has it; 0 for one that was never counted."""
    return int(REGISTRY.get_sample_value(name, labels) or 0)
