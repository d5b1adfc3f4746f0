"""What becomes of services when the account is barred or closed, also when the network refuses or news come late."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from common import clock
from provisioning.gateway import Answer, Verdict
from provisioning.handlers import HANDLERS
from provisioning.jobs import show_elements
from tests.support.provisioning import Network, Shopper
from tests.support.services import an_event, bearer, deliver

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
REFUSED = Answer(Verdict.REFUSED, "subscriber_busy")
COMMANDS = "/api/provisioning/admin/commands"


def account(shopper: Shopper, kind: str) -> None:
    data = {"account_id": shopper.user_id, "account_number": "STL-0000000042", "user_id": shopper.user_id}
    deliver(
        HANDLERS,
        an_event(kind, shopper.user_id, data | {"level": "soft", "reason": "overdue"}, time=clock.now()),
    )


def user(shopper: Shopper, kind: str, at: datetime, **data: Any) -> None:
    profile = {"user_id": shopper.user_id, "phone": "+94771234567", "reason": "deactivated_by_admin"}
    deliver(HANDLERS, an_event(kind, shopper.user_id, profile | data, time=at))


def states(shopper: Shopper) -> list[str]:
    shopper.headers = bearer(shopper.user_id)
    return [service["state"] for service in shopper.services()]


def refuse_the_bar_of_a_pack(shopper: Shopper, network: Network) -> None:
    """A pack has been on for an hour when its account is barred; the element refuses to suspend it."""
    shopper.headers = bearer(shopper.user_id)
    shopper.buy("data-5gb")
    network.carry_out_all()
    clock.move(HOUR)
    account(shopper, "account.barred")
    network.answers = [REFUSED]
    network.carry_out_all()


def test_a_refused_suspension_is_kept_shown_counted_and_told_again(
    shopper: Shopper, network: Network, client: FlaskClient
) -> None:
    with clock.frozen(NOON):
        refuse_the_bar_of_a_pack(shopper, network)
        assert states(shopper) == ["active"]
        agent = bearer(None, "agent")
        (kept,) = client.get(f"{COMMANDS}?state=refused&element=ocs", headers=agent).json["items"]
        assert (kept["action"], kept["outcome"], kept["user_id"]) == (
            "suspend", "subscriber_busy", shopper.user_id,
        )  # fmt: skip
        show_elements()
        assert REGISTRY.get_sample_value("element_commands_refused", {"element": "ocs"}) == 1
        assert REGISTRY.get_sample_value("element_commands_pending", {"element": "ocs"}) == 1
        clock.move(HOUR)
        network.carry_out_all()
        assert states(shopper) == ["suspended"]
    assert [call.action for call in network.calls] == ["activate", "suspend", "suspend"]
    assert len({call.command_id for call in network.calls}) == 3


def test_a_suspension_that_waits_to_be_told_again_ends_with_the_bar_and_holds_nothing_up(
    shopper: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        refuse_the_bar_of_a_pack(shopper, network)
        clock.move(HOUR / 2)
        account(shopper, "account.restored")
        network.carry_out_all()
        clock.move(HOUR)
        network.carry_out_all()
        assert states(shopper) == ["active"]
    assert [call.action for call in network.calls] == ["activate", "suspend", "restore"]


def test_a_suspension_refused_after_the_bar_was_lifted_is_not_told_again(
    shopper: Shopper, network: Network
) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        shopper.buy("data-5gb")
        network.carry_out_all()
        account(shopper, "account.barred")
        clock.move(timedelta(seconds=1))
        network.before.append(lambda: account(shopper, "account.restored"))
        network.answers = [REFUSED]
        network.carry_out_all()
        clock.move(2 * HOUR)
        network.carry_out_all()
        assert states(shopper) == ["active"]
    assert [call.action for call in network.calls] == ["activate", "suspend", "restore"]


def test_only_staff_read_what_elements_were_told(shopper: Shopper, client: FlaskClient) -> None:
    assert client.get(COMMANDS, headers=shopper.headers).status_code == 403
    for query in ("state=x", "element=pgw", "user_id=x", "limit=0"):
        assert client.get(f"{COMMANDS}?{query}", headers=bearer(None, "agent")).status_code == 422


@pytest.mark.parametrize("late", [False, True])
def test_an_account_that_is_opened_again_may_order_and_keeps_what_it_lost_lost(
    shopper: Shopper, network: Network, late: bool
) -> None:
    with clock.frozen(NOON):
        shopper.headers = bearer(shopper.user_id)
        shopper.buy("call-waiting")
        network.carry_out_all()
        closed, opened = NOON + HOUR, NOON + 2 * HOUR
        clock.move(3 * HOUR)
        shopper.headers = bearer(shopper.user_id)
        news = [("user.deactivated", closed, {}), ("user.updated", opened, {"changed": ["active"]})]
        for kind, at, data in reversed(news) if late else news:
            user(shopper, kind, at, **data)
        network.carry_out_all()
        # a token of before is revoked; a new one orders
        assert states(shopper) == ["terminated"]
        assert shopper.order("call-waiting").status_code == 201
