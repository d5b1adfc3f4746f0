"""Prometheus metrics of the worker: counters and histograms only, so that they add up over processes."""

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

PUBLISHED = Counter("events_published_total", "Events that the broker confirmed", ["type"])
PUBLISH_FAILED = Counter(
    "events_publish_failed_total", "Events returned or refused by the broker; tried again", ["type"]
)
RELAY_LAG = Histogram(
    "event_relay_lag_seconds",
    "From an event's emission to the broker's confirmation",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600),
)
HANDLED = Counter("events_handled_total", "Events handled and committed", ["queue", "type"])
DUPLICATES = Counter("events_duplicate_total", "Events delivered again after they were handled", ["queue"])
RETRIED = Counter("events_retried_total", "Events put off after a failure", ["queue", "error"])
DEAD = Counter("events_dead_total", "Events moved to the dead queue", ["queue", "cause"])
HANDLING_SECONDS = Histogram(
    "event_handling_seconds",
    "Time to handle an event, commit included",
    ["queue"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
JOB_SECONDS = Histogram(
    "job_seconds",
    "Time of one run of a job",
    ["job"],
    buckets=(0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60),
)
JOB_FAILURES = Counter("job_failures_total", "Runs of a job that raised", ["job"])


def serve(port: int, address: str) -> None:
    """Offer `/metrics` on a port of the worker's own."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    start_http_server(port, address, registry)
