"""E-mail and SMS on their way out: claimed, sent outside any transaction, settled; through failures and crashes."""

import email
import email.policy
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from common import clock, contracts, ids
from common.db import reading, transaction
from notification import sending
from notification.gateway import (
    Email,
    OutcomeUnknown,
    PermanentFailure,
    ProviderAway,
    Sms,
    TemporaryFailure,
)
from notification.gateway.email import EmailSink
from notification.gateway.sms import SmsSink
from notification.messages import make_email, make_sms
from notification.models import (
    AttemptOutcome,
    Channel,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
)
from notification.sending import Sender
from notification.use_cases import sending as use_cases
from tests.support.notifications import NAMES, FakeProvider, a_customer, tell
from tests.support.services import emitted

SENDER = "Sri-Care <no-reply@sri-care.example>"
MORNING = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@pytest.fixture
def morning(app: Flask) -> Iterator[None]:
    with clock.frozen(MORNING):
        yield


def an_email_sender(*providers: Any, hands: int = 1) -> Sender:
    make = partial(make_email, public_url="https://care.example")
    return Sender(Channel.EMAIL, make, lambda: providers, hands=hands)


def send_email(provider: Any) -> bool:
    return an_email_sender(provider).run()


def send_sms(provider: Any) -> bool:
    return Sender(Channel.SMS, make_sms, lambda: [provider]).run()


LEASE = timedelta(seconds=65)


def claim_email() -> use_cases.Claimed:
    with transaction() as session:
        (claimed,) = use_cases.claim(session, channel=Channel.EMAIL, lease=LEASE, limit=1).claimed
        return claimed


def states(channel: Channel = Channel.EMAIL) -> list[str]:
    with reading() as session:
        rows = select(Delivery).where(Delivery.channel == channel).order_by(Delivery.id)
        return [row.state.value for row in session.scalars(rows)]


def attempts() -> list[DeliveryAttempt]:
    with reading() as session:
        rows = select(DeliveryAttempt).order_by(DeliveryAttempt.started_at, DeliveryAttempt.number)
        return list(session.scalars(rows))


def read_eml(path: Path) -> EmailMessage:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.mark.parametrize("language", ["en", "si", "ta"])
def test_an_email_lies_in_the_sink_as_one_readable_message(app: Flask, tmp_path: Path, language: str) -> None:
    a_customer(language=language)
    sink = tmp_path / "mail"
    assert send_email(EmailSink(sink, SENDER)) is False
    (path,) = sink.iterdir()
    message = read_eml(path)
    assert message["To"].addresses[0].addr_spec == "nimali@example.lk"
    assert message["To"].addresses[0].display_name == NAMES[language]
    assert "Sri-Care" in message["Subject"]
    assert message["Content-Language"] == language
    text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert NAMES[language] in text.get_content()
    assert NAMES[language] in html.get_content()
    (sent,) = emitted("notification.sent")
    assert contracts.violation(sent.type, sent.data) is None
    assert (sent.data["channel"], sent.data["event_type"]) == ("email", "user.created")
    assert path.name == f"{sent.data['delivery_id']}.eml"
    assert sent.correlation_id == "test"
    assert states() == ["sent"]


def test_an_sms_lies_in_the_sink(app: Flask, tmp_path: Path) -> None:
    tell("invoice.overdue", a_customer())
    send_sms(SmsSink(tmp_path / "sms"))
    (path,) = (tmp_path / "sms").iterdir()
    document = json.loads(path.read_bytes())
    assert document["to"] == "+94771234567"
    assert "INV-2026-000042" in document["body"]


def test_neither_body_nor_address_is_logged(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    tell("invoice.overdue", a_customer())
    send_sms(SmsSink(None))
    send_email(EmailSink(None, SENDER))
    told = " ".join(str(vars(record)) for record in caplog.records if record.name.startswith("notification"))
    assert "delivery_id" in told
    for private in ("+94771234567", "nimali@example.lk", "INV-2026", "Nimali Perera"):
        assert private not in told


def test_a_sent_message_is_not_sent_again(app: Flask) -> None:
    a_customer()
    provider = FakeProvider()
    send_email(provider)
    send_email(provider)
    assert provider.calls == 1
    assert [(row.outcome, row.provider_reference) for row in attempts()] == [(AttemptOutcome.SENT, "fake-1")]


def test_a_crash_between_call_and_settlement_repeats_the_same_message(morning: None, tmp_path: Path) -> None:
    a_customer()
    provider = EmailSink(tmp_path / "mail", SENDER)
    claimed = claim_email()
    provider.send(make_email(claimed, "https://care.example"))  # and then the process dies
    first = read_eml(next((tmp_path / "mail").iterdir()))["Message-ID"]
    send_email(provider)
    assert states() == ["sending"], "its lease still runs"
    clock.move(LEASE)
    send_email(provider)
    (path,) = (tmp_path / "mail").iterdir()
    assert read_eml(path)["Message-ID"] == first
    assert states() == ["sent"]
    assert [row.outcome for row in attempts()] == [AttemptOutcome.UNKNOWN, AttemptOutcome.SENT]
    assert len(emitted("notification.sent")) == 1


def test_a_settlement_that_comes_too_late_changes_nothing(morning: None) -> None:
    a_customer()
    slow = claim_email()
    clock.move(LEASE)
    send_email(FakeProvider())
    late = use_cases.Try("fake", MORNING, AttemptOutcome.PERMANENT_FAILURE, "late")
    with transaction() as session:
        use_cases.settle(session, [use_cases.Result(slow, [late])])
    assert states() == ["sent"]
    assert emitted("notification.failed") == []


def test_while_a_provider_is_away_one_message_tries_and_the_other_channel_goes_on(morning: None) -> None:
    for _ in range(3):
        tell("invoice.overdue", a_customer())
    mail, sms = FakeProvider(), FakeProvider()
    mail.fails = ProviderAway("no_connection")
    by_mail = an_email_sender(mail)
    assert by_mail.run() is False
    assert mail.calls == 1
    send_sms(sms)
    assert states(Channel.SMS) == ["sent"] * 3
    assert sorted(states()) == ["created"] * 5 + ["temporary_failure"]
    for _ in range(20):
        clock.move(timedelta(seconds=30))
        by_mail.run()
    assert mail.calls < 10
    assert emitted("notification.failed") == []
    mail.fails = None
    clock.move(timedelta(seconds=use_cases.LONGEST_PAUSE_WHEN_AWAY_S * 1.2))
    by_mail.run()
    clock.move(timedelta(seconds=use_cases.LONGEST_PAUSE_WHEN_AWAY_S * 1.2))
    by_mail.run()
    assert states() == ["sent"] * 6
    assert len({message.id for message in mail.taken}) == len(mail.taken) == 6


def test_a_message_that_fails_waits_longer_each_time_and_holds_nobody_up(morning: None) -> None:
    a_customer()
    provider = FakeProvider()
    provider.fails = TemporaryFailure("recipient_refused", "451 greylisted")
    send_email(provider)
    send_email(provider)
    assert provider.calls == 1, "not before its pause is over"
    clock.move(timedelta(seconds=6))
    send_email(provider)
    clock.move(timedelta(seconds=6))
    send_email(provider)
    assert provider.calls == 2, "the second pause is longer"
    provider.fails = None
    a_customer()
    send_email(provider)
    assert states() == ["temporary_failure", "sent"]
    clock.move(timedelta(seconds=36))
    send_email(provider)
    assert states() == ["sent", "sent"]


def test_what_cannot_be_delivered_for_days_is_given_up_and_said_so(morning: None) -> None:
    a_customer()
    provider = FakeProvider()
    provider.fails = TemporaryFailure("recipient_refused")
    send_email(provider)
    clock.move(use_cases.GIVE_UP_AFTER[Channel.EMAIL] + timedelta(seconds=1))
    send_email(provider)
    assert states() == ["permanent_failure"]
    (failed,) = emitted("notification.failed")
    assert contracts.violation(failed.type, failed.data) is None
    assert failed.data["reason"] == "gave_up"


def test_a_message_that_never_had_its_try_is_not_given_up(morning: None) -> None:
    a_customer()
    clock.move(use_cases.GIVE_UP_AFTER[Channel.EMAIL] * 2)
    send_email(FakeProvider())
    assert states() == ["sent"]


def test_a_refusal_for_good_is_not_tried_again(morning: None, caplog: pytest.LogCaptureFixture) -> None:
    a_customer()
    provider = FakeProvider()
    words = "550 no such user nimali@example.lk, see https://mx.example.lk/why?token=x"
    provider.fails = PermanentFailure("recipient_refused", words)
    send_email(provider)
    clock.move(timedelta(days=1))
    send_email(provider)
    assert provider.calls == 1
    (failed,) = emitted("notification.failed")
    assert failed.data["reason"] == "recipient_refused", "the server's words may hold an address"
    assert attempts()[0].reason == "recipient_refused: 550 no such user n***@example.lk, see ***"
    assert "nimali@example.lk" not in caplog.text


@pytest.mark.parametrize(
    "name",
    ["Nimali\r\nBcc: all@example.lk", "Nimali\nX: y", "a\u2028b", "\x00\x1b[2J", '"<x>, y@z.lk'],
)
def test_no_name_adds_a_header_or_a_recipient(tmp_path: Path, name: str) -> None:
    message = Email(ids.new_id(), "nimali@example.lk", name, "en", f"Subject {name}", "text", "<p>")
    EmailSink(tmp_path, SENDER).send(message)
    (path,) = tmp_path.iterdir()
    read = read_eml(path)
    assert [address.addr_spec for address in read["To"].addresses] == ["nimali@example.lk"]
    assert {"Bcc", "X"} & set(read.keys()) == set()
    assert read.defects == []


@pytest.mark.parametrize(
    "address", ["", "nobody", "a b@c.lk", "a@b.lk\r\nBcc: x@y.lk", "a@b.lk, x@y.lk", "@"]
)
def test_an_address_that_is_none_is_refused_for_good(tmp_path: Path, address: str) -> None:
    message = Email(ids.new_id(), address, "Nimali", "en", "s", "t", "h")
    with pytest.raises(PermanentFailure):
        EmailSink(tmp_path, SENDER).send(message)
    assert list(tmp_path.iterdir()) == []


def test_a_sink_that_cannot_be_written_is_a_provider_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProviderAway):
        SmsSink(tmp_path / "file").send(Sms(ids.new_id(), "+94771234567", "text"))


def test_two_workers_send_each_message_once(app: Flask) -> None:
    for _ in range(12):
        a_customer()
    provider, errors = FakeProvider(), []

    def work() -> None:
        with app.app_context():
            try:
                while send_email(provider):
                    pass
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(message.id for message in provider.taken) == sorted({m.id for m in provider.taken})
    assert states() == [DeliveryState.SENT.value] * 12


def test_more_than_a_run_holds_is_sent_by_the_next(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "BATCH", 2)
    for _ in range(2 * sending.BATCHES_A_RUN + 3):
        a_customer()
    provider = FakeProvider()
    assert send_email(provider) is True
    assert send_email(provider) is False
    assert len(provider.taken) == 2 * sending.BATCHES_A_RUN + 3


def test_the_next_provider_takes_what_the_first_does_not_until_it_is_back(morning: None) -> None:
    first, second = FakeProvider("first"), FakeProvider("second")
    first.fails = ProviderAway("no_connection")
    sender = an_email_sender(first, second)
    a_customer()
    sender.run()
    a_customer()
    sender.run()
    assert (first.calls, len(second.taken)) == (1, 2), "left alone while it is away"
    assert [(row.provider, row.outcome) for row in attempts()] == [
        ("first", AttemptOutcome.TEMPORARY_FAILURE),
        ("second", AttemptOutcome.SENT),
        ("second", AttemptOutcome.SENT),
    ]
    first.fails = None
    clock.move(timedelta(seconds=10))
    a_customer()
    sender.run()
    assert len(first.taken) == 1, "first in line again"
    assert states() == ["sent"] * 3


def test_what_may_have_been_taken_is_not_given_to_the_next_provider_at_once(morning: None) -> None:
    first, second = FakeProvider("first"), FakeProvider("second")
    first.fails = OutcomeUnknown("no_answer")
    sender = an_email_sender(first, second)
    a_customer()
    sender.run()
    assert (states(), second.calls) == (["temporary_failure"], 0)
    first.fails = None
    clock.move(timedelta(seconds=10))
    sender.run()
    assert states() == ["sent"]
    assert len(first.taken) == 1


def test_several_hands_send_at_once_and_each_message_once(app: Flask) -> None:
    for _ in range(9):
        a_customer()
    together = threading.Barrier(3, timeout=60)

    class Meeting(FakeProvider):
        def send(self, message: Any) -> str | None:
            together.wait()
            return super().send(message)

    hands: list[FakeProvider] = []

    def one() -> list[FakeProvider]:
        hands.append(Meeting())
        return [hands[-1]]

    make = partial(make_email, public_url="https://care.example")
    Sender(Channel.EMAIL, make, one, hands=3).run()
    sent = [message.id for hand in hands for message in hand.taken]
    assert len(sent) == len(set(sent)) == 9


def test_a_provider_that_breaks_in_an_unforeseen_way_costs_one_message_a_retry(morning: None) -> None:
    a_customer()
    provider = FakeProvider()
    provider.fails = RuntimeError("garbage")
    send_email(provider)
    assert states() == ["temporary_failure"]
    provider.fails = None
    clock.move(timedelta(seconds=6))
    send_email(provider)
    assert states() == ["sent"]


def test_a_message_that_is_not_begun_in_time_is_given_back(
    morning: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_customer()
    monkeypatch.setattr(sending, "BEGIN_WITHIN_S", -1.0)
    provider = FakeProvider()
    send_email(provider)
    assert (states(), attempts(), provider.calls) == (["created"], [], 0)
