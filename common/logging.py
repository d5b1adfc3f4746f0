"""Logs: one JSON line per record on stdout, with request, trace and event ids; secrets and card numbers masked."""

import logging
import re
import sys

from pythonjsonlogger.orjson import OrjsonFormatter

from common import context, tracing

_MASKED = (
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "[token]"),
    (re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w.-])"), "[number]"),
    (
        re.compile(
            r'((?:password|secret|code|cvc|otp|refresh_token|access_token)"?\s*[:=]\s*"?)[^\s",}]+', re.I
        ),
        r"\1[masked]",
    ),
    (re.compile(r"(\w+://[^:/\s]+:)[^@/\s]+@"), r"\1[masked]@"),
)


class JsonFormatter(OrjsonFormatter):
    """One line per record. What looks like a token, a card number or a secret is masked wherever it stands."""

    def __init__(self, service: str) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"service": service},
            timestamp="time",
        )

    def format(self, record: logging.LogRecord) -> str:
        record.request_id = context.request_id.get() or None
        record.trace_id = tracing.current_trace_id() or None
        record.event_id = context.event_id.get() or None
        line = super().format(record)
        return line if record.name == "access" else mask(line)  # the frame masks what a client chose


def mask(text: str) -> str:
    """The text without tokens, card numbers and secrets."""
    for pattern, replacement in _MASKED:
        text = pattern.sub(replacement, text)
    return text


def configure_logging(service: str, level: str) -> None:
    """Make JSON lines on stdout this process's only log. Safe to repeat."""
    root = logging.getLogger()
    if any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        return
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("pika").setLevel(
        logging.CRITICAL
    )  # logs each failed attempt in six lines; callers log one
    for noisy in ("httpx", "httpcore", "alembic", "kombu", "amqp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
