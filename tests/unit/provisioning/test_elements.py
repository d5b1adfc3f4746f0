"""The http driver against real HTTP, the pace, the circuit breaker, giving up, and drift."""

import json
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from common import clock, ids
from common.db import transaction
from common.settings import SettingsError
from dev.element import ElementServer
from provisioning import queries
from provisioning.config import Settings
from provisioning.gateway import Answer, Call, Found, HttpElements, Verdict
from provisioning.jobs import give_up_orders
from provisioning.models import Action, CallRules, Element, NetworkElement
from tests.support.provisioning import LEASE, QUARANTINE, RULES, Network, Shopper, all_due, carry_out
from tests.support.services import bearer, emitted

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
AWAY = Answer(Verdict.FAILED, "element_unavailable")
TIMEOUT_S = 0.5


def a_call(**changes: Any) -> Call:
    fields: dict[str, Any] = {
        "command_id": ids.new_id(), "attempt": 1, "element": Element.CHARGING, "action": Action.ACTIVATE,
        "service_id": ids.new_id(), "subscriber_id": ids.new_id(), "msisdn": "+94771234567",
        "offering_code": "data-5gb",
    }  # fmt: skip
    return Call(**(fields | changes))


def test_a_command_over_http_takes_effect_and_is_seen(elements: HttpElements) -> None:
    call = a_call(characteristics={"ring_tone": "ocean-waves"})
    assert elements.execute(call) == Answer(Verdict.DONE)
    assert elements.inspect(call.element, call.service_id).state is Found.ACTIVE
    assert elements.inspect(call.element, call.service_id).characteristics == {"ring_tone": "ocean-waves"}
    assert elements.inspect(call.element, ids.new_id()).state is Found.ABSENT


def test_an_explicit_refusal_is_for_good(elements: HttpElements) -> None:
    answer = elements.execute(a_call(characteristics={"ring_tone": "withdrawn"}))
    assert answer == Answer(Verdict.REFUSED, "refused_by_network")


@pytest.mark.parametrize(
    ("fault", "reason", "effects"),
    [
        ("unavailable", "element_unavailable", 0),
        ("late", "no_answer", 1),
        ("half", "element_unavailable", 1),
        ("lost", "element_unavailable", 1),
        ("garbage", "unusable_answer", 1),
    ],
)
def test_whatever_is_no_whole_answer_is_tried_again_and_takes_effect_once(
    server: ElementServer,
    elements: HttpElements,
    impatient: HttpElements,
    fault: str,
    reason: str,
    effects: int,
) -> None:
    server.faults = server.faults | {fault: 1.0, "late_s": 5.0}
    call = a_call()
    answer = (impatient if fault == "late" else elements).execute(call)
    assert (answer.verdict, answer.reason) == (Verdict.FAILED, reason)
    assert server.effects == effects
    server.faults = server.faults | {fault: 0.0}
    assert elements.execute(call) == Answer(Verdict.DONE)
    assert server.effects == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
        b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"status": "maybe"}',
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b" " * 70000,
        b'HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n{"status":"refused","reason":"DROP TABLE x; --"}',
    ],
)
def test_nonsense_is_neither_done_nor_refused(raw: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(raw)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        driver = HttpElements(dict.fromkeys(Element, url), token=None, timeout_s=TIMEOUT_S)
        answer = driver.execute(a_call())
        driver.close()
        thread.join()
    assert answer.verdict is Verdict.FAILED, json.dumps(answer.detail)


@pytest.mark.parametrize("dripped", ["headers", "body"])
def test_an_element_that_drips_its_answer_holds_nobody_beyond_the_time_out(dripped: str) -> None:
    whole = b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000 + b"\r\nContent-Length: 1000\r\n\r\n"
    at_once = whole if dripped == "body" else b""
    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(at_once)
                for byte in (whole + b" " * 1000)[len(at_once) :]:
                    connection.sendall(bytes([byte]))
                    if left.wait(0.05):
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        driver = HttpElements(dict.fromkeys(Element, url), token=None, timeout_s=TIMEOUT_S)
        began = time.monotonic()
        answer = driver.execute(a_call())
        took = time.monotonic() - began
        left.set()
        driver.close()
        thread.join()
    assert (answer.verdict, answer.reason) == (Verdict.FAILED, "no_answer")
    assert took < TIMEOUT_S + 10  # all of it takes 50 s and more


def test_an_element_that_is_not_there_fails_and_is_unknown() -> None:
    driver = HttpElements(dict.fromkeys(Element, "http://127.0.0.1:1"), token=None, timeout_s=TIMEOUT_S)
    assert driver.execute(a_call()).reason == "element_unavailable"
    assert driver.inspect(Element.CHARGING, ids.new_id()).state is Found.UNKNOWN
    driver.close()


def test_an_element_that_fails_in_a_row_is_left_alone_and_then_tried_by_one_call(
    shopper: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        orders = [shopper.buy("sms-100") for _ in range(8)]
        network.answers = [AWAY] * 6
        network.carry_out_all()
        assert len(network.calls) == RULES.open_after
        clock.move(RULES.open_for - timedelta(seconds=1))
        assert all_due() == []
        clock.move(timedelta(seconds=1))
        tried = all_due()
        assert len(tried) > 1
        carry_out(tried[0], network, RULES, QUARANTINE, *tried[1:])
        assert len(network.calls) == RULES.open_after + 1  # the one that tries it out failed: open again
        clock.move(RULES.open_for)
        network.carry_out_all()
        clock.move(timedelta(minutes=1))
        network.carry_out_all()
        assert {shopper.order_now(order)["state"] for order in orders} == {"completed"}


def test_an_open_circuit_of_one_element_leaves_the_others_alone(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        for _ in range(RULES.open_after):
            shopper.buy("sms-100")
        network.answers = [AWAY] * RULES.open_after
        network.carry_out_all()
        feature = shopper.buy("call-waiting")
        network.carry_out_all()
        assert shopper.order_now(feature)["state"] == "completed"


def test_an_elements_pace_holds_for_all_callers_together(
    app: Flask, shopper: Shopper, network: Network
) -> None:
    rules = CallRules(lease=LEASE, rate_per_s=10, burst=2, open_after=5, open_for=LEASE)
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        for _ in range(10):
            shopper.buy("sms-100")
        for tenth in range(5):
            first, *others = all_due()
            for _ in range(2):
                carry_out(first, network, rules, QUARANTINE, *others)
            assert len(network.calls) == 2 + tenth
            clock.move(timedelta(milliseconds=100))
        with transaction() as session:
            element = session.get_one(NetworkElement, Element.CHARGING)
            assert element.wait(rules) == timedelta()
            assert element.admit(rules, 1) == 1
            assert element.wait(rules) == timedelta(milliseconds=100)


def test_an_activation_that_never_succeeds_is_given_up_refunded_and_undone(
    shopper: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        order = shopper.buy("ring-back-tone", ring_tone="baila-beat")
        network.answers = [Answer(Verdict.FAILED, "no_answer")]
        network.carry_out_all()
        clock.move(timedelta(hours=1))
        shopper.headers = bearer(shopper.user_id)
        give_up_orders(timedelta(hours=1), LEASE, QUARANTINE)
        assert shopper.order_now(order)["state"] == "in_progress"  # exactly the hour is still in time
        clock.move(timedelta(seconds=1))
        for _ in range(2):
            give_up_orders(timedelta(hours=1), LEASE, QUARANTINE)
        now = shopper.order_now(order)
        assert (now["state"], now["history"][-1]["reason"]) == ("failed", "network_unavailable")
        assert [told.data["reason"] for told in emitted("order.failed")] == ["network_unavailable"]
        assert network.carry_out_all() == 0  # a call that is still on its way must come first
        clock.move(LEASE)
        network.carry_out_all()
        assert [call.action for call in network.calls] == ["activate", "deactivate"]
        assert network.inspect(network.calls[0].element, network.calls[0].service_id).state is Found.ABSENT
        assert emitted("service.deactivated") == []
        assert shopper.order("ring-back-tone", ring_tone="baila-beat").status_code == 201


def test_an_answer_after_giving_up_changes_nothing(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        order = shopper.buy("data-5gb")

        def too_long() -> None:
            clock.move(timedelta(hours=2))
            give_up_orders(timedelta(hours=1), LEASE, QUARANTINE)

        network.after.append(too_long)
        network.carry_out_all()
        shopper.headers = bearer(shopper.user_id)
        assert shopper.order_now(order)["state"] == "failed"
        assert emitted("service.activated") == []
        clock.move(LEASE)
        network.carry_out_all()
        assert network.calls[-1].action == "deactivate"


def test_a_refused_switching_off_is_told_again_as_a_new_command(shopper: Shopper, network: Network) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        shopper.buy("call-waiting")
        network.carry_out_all()
        (service,) = shopper.services()
        path = f"/api/provisioning/services/{service['id']}/deactivate"
        assert shopper.client.post(path, headers=shopper.headers).status_code == 202
        network.answers = [Answer(Verdict.REFUSED, "subscriber_busy")]
        network.carry_out_all()
        assert [s["state"] for s in shopper.services()] == ["active"]
        clock.move(timedelta(hours=1))
        network.carry_out_all()
        shopper.headers = bearer(shopper.user_id)
        assert [s["state"] for s in shopper.services()] == ["terminated"]
    assert len({call.command_id for call in network.calls[1:]}) == 2
    assert [told.data["reason"] for told in emitted("service.deactivated")] == ["deactivated_by_customer"]


ENV = {"PROVISIONING_DATABASE_URL": "sqlite:///x", "RABBITMQ_URL": "amqp://x", "JWKS_URL": "http://x"}
URLS = "ocs=http://a/ocs, hlr=http://a/hlr,crbt=https://a/crbt/,smsc=http://a:9/smsc"


def test_the_http_driver_needs_a_url_for_every_element() -> None:
    http = ENV | {"PROVISIONING_ELEMENT_DRIVER": "http"}
    found = Settings.from_env(http | {"PROVISIONING_ELEMENT_URLS": URLS})
    assert found.element_urls[Element.RING_BACK_TONES] == "https://a/crbt"
    for wrong in (None, "ocs=http://a", URLS.replace("http://a/ocs", "ftp://a"), URLS + ",pgw=http://a"):
        with pytest.raises(SettingsError, match="PROVISIONING_ELEMENT_URLS"):
            Settings.from_env(http | ({"PROVISIONING_ELEMENT_URLS": wrong} if wrong else {}))


def test_production_must_say_how_elements_are_reached() -> None:
    with pytest.raises(SettingsError, match="PROVISIONING_ELEMENT_DRIVER"):
        Settings.from_env(ENV)
    assert Settings.from_env(ENV | {"SRICARE_ENV": "development"}).element_driver == "simulated"


def test_a_lease_that_calls_may_outlast_is_refused() -> None:
    http = {"PROVISIONING_ELEMENT_DRIVER": "http", "PROVISIONING_ELEMENT_URLS": URLS}
    short = ENV | http | {"PROVISIONING_ELEMENT_TIMEOUT_S": "10"}
    with pytest.raises(SettingsError, match="PROVISIONING_ELEMENT_LEASE_S"):
        Settings.from_env(short)


def test_due_commands_of_a_held_element_wait(shopper: Shopper, network: Network) -> None:
    order = shopper.buy("sms-100")
    with transaction() as session:
        session.get_one(NetworkElement, Element.CHARGING).held = True
        assert queries.due_commands(session, Element.CHARGING, RULES, 5) == ([], timedelta())
    assert network.carry_out_all() == 0
    with transaction() as session:
        session.get_one(NetworkElement, Element.CHARGING).held = False
    network.carry_out_all()
    assert shopper.order_now(order)["state"] == "completed"
