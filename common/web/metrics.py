"""Prometheus metrics of the HTTP side; right under several gunicorn workers through PROMETHEUS_MULTIPROC_DIR."""

import os
from functools import lru_cache

from flask import Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = Counter("http_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "http_request_duration_seconds",
    "Time to answer",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
OUTBOX_PENDING = Gauge("outbox_pending", "Events not published yet", multiprocess_mode="mostrecent")
OUTBOX_AGE = Gauge(
    "outbox_oldest_seconds", "Age of the oldest unpublished event", multiprocess_mode="mostrecent"
)


@lru_cache(maxsize=2000)
def _children(method: str, route: str, status: str) -> tuple[Counter, Histogram]:
    known = method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS") else "OTHER"
    return REQUESTS.labels(known, route, status), SECONDS.labels(known, route)


def observe(method: str, route: str, status: str, seconds: float) -> None:
    """Count one answered request; `route` is the rule, never the path, so that series stay few."""
    requests, durations = _children(method[:10], route, status)
    requests.inc()
    durations.observe(seconds)


def metrics_response() -> Response:
    """All processes' figures in Prometheus text form."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
