"""Business hours, and what they do to a conversation."""

from datetime import datetime, timedelta

import pytest
from flask.testing import FlaskClient

from chat.hours import Hours
from common import clock, ids
from common.clock import OPERATOR_ZONE
from tests.support.services import bearer, service_fixtures

LINE = "mon-fri 08:00-12:00,13:00-20:00; sat 09:00-13:00"
database_url, app, client = service_fixtures("chat", bot="off", business_hours=LINE)
MONDAY = datetime(2026, 11, 23, tzinfo=OPERATOR_ZONE)


@pytest.mark.parametrize(
    ("hours", "is_open"),
    [(7.99, False), (8, True), (11.99, True), (12, False), (12.5, False), (13, True), (20, False), (5 * 24 + 9, True),
     (5 * 24 + 13, False), (6 * 24 + 10, False)],
)  # fmt: skip
def test_several_periods_a_day(hours: float, is_open: bool) -> None:
    assert Hours.parse(LINE).is_open(MONDAY + timedelta(hours=hours)) is is_open


@pytest.mark.parametrize(
    ("at", "opens"),
    [(0, 8), (9, 13), (12.5, 13), (21, 24 + 8), (5 * 24 + 14, 7 * 24 + 8)],
)
def test_when_it_opens_next(at: float, opens: float) -> None:
    assert Hours.parse(LINE).opens_at(MONDAY + timedelta(hours=at)) == MONDAY + timedelta(hours=opens)


@pytest.mark.parametrize(
    "line",
    ["", "mon", "xyz 08:00-12:00", "mon 12:00-08:00", "mon 8-12", "mon 08:00-24:01", "mon 08:60-09:00"],
)
def test_nonsense_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        Hours.parse(line)


def test_out_of_hours_the_customer_is_told_when_people_are_back(client: FlaskClient) -> None:
    with clock.frozen(MONDAY + timedelta(hours=22)):
        opened = client.post(
            "/api/chat/conversations", json={}, headers=bearer(customer_id := ids.new_id())
        ).json
        url = f"/api/chat/conversations/{opened['id']}/messages"
        (said,) = client.get(url, headers=bearer(customer_id)).json["items"]
        assert said["sender"]["role"] == "system"
        assert "2026-11-24 08:00" in said["body"]
        assert opened["state"] == "queued"
    with clock.frozen(MONDAY + timedelta(hours=9)):
        answer = client.post("/api/chat/conversations", json={}, headers=bearer(ids.new_id()))
        assert answer.json["last_seq"] == 0
