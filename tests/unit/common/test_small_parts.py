"""Logs, traces, money, ids."""

import json
import logging

import pytest

from common import clock, context, ids, tracing
from common.logging import JsonFormatter
from common.money import CurrencyMismatch, Money, PositiveMoney


def line(message: str, **extra: object) -> dict[str, object]:
    record = logging.LogRecord("test", logging.INFO, __file__, 1, message, None, None)
    record.__dict__.update(extra)
    text = JsonFormatter("probe").format(record)
    assert "\n" not in text
    return json.loads(text)


@pytest.mark.parametrize(
    "secret",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
        "amqp://user:hunter2@host/",
    ],
)
def test_no_secret_or_card_number_reaches_a_log(secret: str) -> None:
    for found in (
        line(f"seen {secret} here"),
        line("x", value=secret),
        line("x", body={"card": {"number": secret}}),
    ):
        assert secret not in json.dumps(found)
        assert "hunter2" not in json.dumps(found)


def test_ids_and_times_are_left_alone_in_logs() -> None:
    event_id = ids.new_id()
    assert line(f"event {event_id} at 2026-11-21T10:00:00.000000Z")["message"].split()[1] == event_id


def test_a_log_line_names_request_trace_and_event() -> None:
    request, event = context.request_id.set("r-1"), context.event_id.set("e-1")
    try:
        with tracing.span("x", tracing.SpanKind.SERVER):
            found = line("hello")
            assert (found["request_id"], found["event_id"]) == ("r-1", "e-1")
            assert found["trace_id"] == tracing.current_trace_id() != ""
    finally:
        context.request_id.reset(request)
        context.event_id.reset(event)


def test_a_trace_goes_on_with_a_new_span() -> None:
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with tracing.span("x", tracing.SpanKind.SERVER, given):
        onward = tracing.current_traceparent()
    assert onward.split("-")[1] == given.split("-")[1]
    assert onward.split("-")[2] != given.split("-")[2]


@pytest.mark.parametrize("bad", ["", "x", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "00-ABC-1-01"])
def test_a_bad_traceparent_starts_a_new_trace(bad: str) -> None:
    with tracing.span("x", tracing.SpanKind.SERVER, bad):
        assert len(tracing.current_trace_id()) == 32


def test_money_never_mixes_currencies() -> None:
    rupees, dollars = Money(amount_minor=100, currency="LKR"), Money(amount_minor=1, currency="USD")
    with pytest.raises(CurrencyMismatch):
        rupees + dollars
    assert PositiveMoney(amount_minor=5, currency="LKR") == Money(amount_minor=5, currency="LKR")
    assert str(Money(amount_minor=-120005, currency="LKR")) == "LKR -1,200.05"


def test_ids_sort_by_time_and_tell_it() -> None:
    made = [ids.new_id() for _ in range(1000)]
    assert made == sorted(made)
    at = ids.made_at(made[0])
    assert at is not None
    assert abs((clock.now() - at).total_seconds()) < 5
    assert ids.made_at("00000000-0000-4000-8000-000000000000") is None
    assert ids.made_at("ffffffff-ffff-7fff-bfff-ffffffffffff") is None
