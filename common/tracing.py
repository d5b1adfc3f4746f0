"""One trace across HTTP and AMQP (W3C Trace Context). Without a collector configured nothing is recorded,
but the trace id still travels, so that logs of all services can be joined on it."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

__all__ = ["SpanKind", "configure", "current_trace_id", "current_traceparent", "span"]

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_current: ContextVar[str] = ContextVar("traceparent", default="")
_tracer: trace.Tracer | None = None


def configure(service: str, endpoint: str | None) -> None:
    """Send spans to an OTLP/HTTP collector; does nothing without an endpoint. Call once per process, after fork."""
    global _tracer
    if not endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))
    )
    _tracer = provider.get_tracer("sri-care")


def current_traceparent() -> str:
    """The header to hand on with whatever the current request or event causes; made when there is none."""
    return _current.get() or _fresh()


def current_trace_id() -> str:
    found = _current.get()
    return found[3:35] if found else ""


@contextmanager
def span(name: str, kind: SpanKind, traceparent: str | None = None) -> Iterator[trace.Span]:
    """Work under a trace: the caller's when `traceparent` is valid, else the current one, else a new one."""
    parent = traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else _current.get()
    if _tracer is None:
        token = _current.set(_child(parent) if parent else _fresh())
        try:
            yield trace.INVALID_SPAN
        finally:
            _current.reset(token)
        return
    context = propagate.extract({"traceparent": parent}) if parent else None
    with _tracer.start_as_current_span(name, context=context, kind=kind) as recorded:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        token = _current.set(carrier["traceparent"])
        try:
            yield recorded
        finally:
            _current.reset(token)


def _fresh() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def _child(parent: str) -> str:
    return f"{parent[:36]}{secrets.token_hex(8)}{parent[52:]}"
