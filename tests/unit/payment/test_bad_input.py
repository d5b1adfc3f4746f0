"""Every field of every request with values that no honest client sends: refused with a problem, nothing moved."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from common import ids
from common.db import reading
from payment.models import WalletEntry
from tests.support.payments import card, lkr
from tests.support.services import bearer

ANY = ids.new_id()
NASTY = (None, 10**30, 1.5, -1, "a\x00b", "\ud800", [], {"a": 1})

REQUESTS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "pay": (
        "POST",
        "process",
        {"reference": {"type": "order", "id": ANY}, "amount": lkr(1), "method": card(), "save_method": False},
        "customer",
    ),
    "pay by saved card": (
        "POST",
        "process",
        {
            "reference": {"type": "order", "id": ANY},
            "amount": lkr(1),
            "method": {"type": "saved", "saved_method_id": ANY},
        },
        "customer",
    ),
    "top up": (
        "POST",
        "wallet/top-ups",
        {"amount": {"amount_minor": 1, "currency": "XTS"}, "method": card()},
        "customer",
    ),
    "transfer": ("POST", "wallet/transfers", {"to_phone": "+94777654321", "amount": lkr(1)}, "customer"),
    "redeem": ("POST", "wallet/vouchers", {"code": "1234567890123456"}, "customer"),
    "settings": (
        "PUT",
        "wallet/settings",
        {"low_balance": lkr(1), "auto_recharge": {"below": lkr(1), "amount": lkr(1), "saved_method_id": ANY}},
        "customer",
    ),
    "confirm": ("POST", f"payments/{ANY}/confirm", {"otp": "123456"}, "customer"),
    "refund": ("POST", f"payments/{ANY}/refunds", {"amount": lkr(10**9), "reason": "x"}, "agent"),
    "resolve a case": ("POST", f"admin/cases/{ANY}/resolve", {"action": "noted", "note": "x"}, "admin"),
}


def spoiled(body: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The body with each of its fields spoiled, and where."""
    for name in body:
        for value in NASTY:
            copy = deepcopy(body)
            copy[name] = value
            yield (*path, name), copy
        if isinstance(body[name], dict):
            for where, inner in spoiled(body[name], (*path, name)):
                yield where, body | {name: inner}


@pytest.mark.parametrize("name", REQUESTS)
def test_no_field_takes_what_it_is_not_for(client: FlaskClient, name: str) -> None:
    method, path, body, role = REQUESTS[name]
    for where, wrong in spoiled(body):
        answer = client.open(
            f"/api/payment/{path}",
            method=method,
            data=json.dumps(wrong),
            content_type="application/json",
            headers=bearer(None, role, key=ids.new_id()),
        )
        assert 400 <= answer.status_code < 500, (where, wrong, answer.text)
        assert answer.mimetype == "application/problem+json"
    with reading() as session:
        assert session.scalars(select(WalletEntry)).all() == []
