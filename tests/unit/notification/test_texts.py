"""The texts: complete in three languages, rightly written, and safe with whatever stands in an event."""

import re

import pytest
from jinja2 import TemplateError, UndefinedError
from jinja2.exceptions import SecurityError

from common import contracts, ids
from notification import formatting, rendering, untold
from notification.handlers import HANDLERS, TOLD_TO_CUSTOMERS
from notification.models import SECRETS, Channel, Language
from tests.support.notifications import NAMES, lkr, sample

TEXTS = sorted(rendering.texts())
SCRIPT = {"si": r"[\u0d80-\u0dff]", "ta": r"[\u0b80-\u0bff]", "en": r"[A-Za-z]"}


def test_every_published_event_is_told_or_left_out_for_a_reason() -> None:
    told = {"user.created", *TOLD_TO_CUSTOMERS}
    assert (
        told == set(TEXTS) & set(contracts.event_types()) == set(contracts.event_types()) - set(untold.EVENTS)
    )
    assert told <= set(HANDLERS)


@pytest.mark.parametrize("event_type", TEXTS)
def test_every_text_is_there_for_every_channel_in_three_languages_and_needs_nothing_that_the_event_lacks(
    event_type: str,
) -> None:
    texts = rendering.texts()[event_type]
    assert set(texts) == {"en", "si", "ta"}
    left_out = untold.CHANNELS.get(event_type, {})
    for language in Language:
        assert set(texts[language.value]) == {"in_app", "email", "sms"} - set(left_out)
        context = {**sample(event_type, ids.new_id()), "name": NAMES[language.value]}
        for channel in rendering.channels_of(event_type):
            words = rendering.render(event_type, language, channel, context)
            assert bool(words.title) == (channel != "sms")
            assert re.search(SCRIPT[language.value], words.body)
            assert not re.search(r"[{}]|None|undefined", words.title + words.body)


def test_each_language_has_words_of_its_own() -> None:
    """A text that was copied and never translated reads the same."""
    for languages in rendering.texts().values():
        for channel, parts in languages["en"].items():
            for part in parts:
                assert len({languages[each][channel][part] for each in ("en", "si", "ta")}) == 3


def test_nothing_is_left_out_that_does_not_exist() -> None:
    assert set(untold.CHANNELS) <= set(TEXTS)
    reasons = [why for left_out in untold.CHANNELS.values() for why in left_out.values()]
    assert all([*untold.EVENTS.values(), *reasons])


@pytest.mark.parametrize("event_type", [told for told in TEXTS if told in contracts.event_types()])
def test_what_a_text_is_tried_with_is_what_the_producer_promises(event_type: str) -> None:
    data = sample(event_type, ids.new_id())
    assert contracts.violation(event_type, data) is None
    required = {name: data[name] for name in contracts.schema_of(event_type)["required"]}
    for language in Language:
        for channel in rendering.channels_of(event_type):
            rendering.render(event_type, language, channel, {**required, "name": "Nimali"})


@pytest.mark.parametrize("path", sorted(rendering.TEMPLATES.glob("*.toml")), ids=lambda path: path.stem)
def test_sinhala_conjuncts_are_joined(path) -> None:
    """Without U+200D the reader sees a bare virama: ක්ර instead of ක්‍ර."""
    assert not re.search("\u0dca[\u0dbb\u0dba]", path.read_text("utf-8"))


def test_an_english_sms_needs_only_the_gsm_alphabet() -> None:
    """One character outside of it and a part holds 70 instead of 160."""
    for event_type in TEXTS:
        if "sms" in rendering.channels_of(event_type):
            context = {**sample(event_type, ids.new_id()), "name": "Nimali"}
            body = rendering.render(event_type, Language.ENGLISH, "sms", context).body
            assert body.isascii()
            assert not set(body) & set("`[]{}\\^~|")
            assert len(body) <= 160, body


@pytest.mark.parametrize(
    ("language", "amount", "day", "moment"),
    [
        ("en", "Rs. 1,234,567.05", "5 December 2026", "21 December 2026 02:00"),
        ("si", "රු. 1,234,567.05", "2026 දෙසැම්බර් 5", "2026 දෙසැම්බර් 21 02:00"),
        ("ta", "ரூ. 1,234,567.05", "5 டிசம்பர் 2026", "21 டிசம்பர் 2026 02:00"),
    ],
)
def test_amounts_and_dates_are_written_as_the_language_writes_them(
    language: str, amount: str, day: str, moment: str
) -> None:
    assert formatting.money(lkr(123_456_705), language) == amount
    assert formatting.day("2026-12-05", language) == day
    assert formatting.moment("2026-12-20T20:30:00.000000Z", language) == moment
    assert formatting.money({"amount_minor": -5, "currency": "USD"}, language) == "-USD 0.05"


def test_markup_in_a_name_is_text_in_the_html_of_an_email() -> None:
    context = {
        **sample("ticket.created", ids.new_id(), subject="<b>x</b>"),
        "name": "<script>alert(1)</script>",
    }
    words = rendering.render("ticket.created", Language.ENGLISH, "email", context)
    text, html = rendering.render_email(words, Language.ENGLISH, context)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt;" in html
    assert "<script>" in text
    assert "\n" not in words.title


def test_a_template_in_data_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    context = {**sample("ticket.created", ids.new_id(), subject="{{ 7 * 7 }}"), "name": "x"}
    assert "{{ 7 * 7 }}" in rendering.render("ticket.created", Language.ENGLISH, "in_app", context).body


@pytest.mark.parametrize(
    ("source", "error"),
    [("{{ missing }}", UndefinedError), ("{{ ''.__class__.__mro__ }}", SecurityError)],
)
def test_a_template_reaches_only_what_it_is_given(source: str, error: type[TemplateError]) -> None:
    with pytest.raises(error):
        rendering._environment("en").from_string(source).render()


def test_a_long_title_is_shortened_to_what_its_column_holds() -> None:
    context = {**sample("service.activated", ids.new_id(), offering_name="x" * 500), "name": "x"}
    words = rendering.render("service.activated", Language.ENGLISH, Channel.EMAIL.value, context)
    assert len(words.title) == rendering.TITLE_LENGTH


def test_a_copy_of_a_conversation_is_written_as_text_and_forgotten_when_it_is_sent() -> None:
    lines = [
        {"sent_at": "2026-11-21T04:30:00.000000Z", "sender_role": role, "sender_name": name, "body": body}
        for role, name, body in (("customer", "Nimali", "{{ 7 * 7 }} <b>?"), ("agent", None, "one\ntwo"))
    ]
    context = {**sample("chat.transcript.requested", ids.new_id(), lines=lines, omitted=3), "name": "Nimali"}
    words = rendering.render("chat.transcript.requested", Language.ENGLISH, "email", context)
    text, html = rendering.render_email(words, Language.ENGLISH, context)
    assert words.title == "Your conversation of 21 November 2026"
    assert "the first 3 messages are left out" in text
    assert "21 November 2026 10:00 · You\n{{ 7 * 7 }} <b>?" in text
    assert "10:00 · Customer care\none\ntwo" in text
    assert "{{ 7 * 7 }} &lt;b&gt;?" in html
    assert "lines" in SECRETS
