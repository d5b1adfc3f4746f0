"""What is emitted in a transaction arrives once; what is rolled back never does."""

import pytest

from common.db import transaction
from common.messaging import new_event
from tests.support.eventually import eventually
from tests.support.messaging.house import THING, House

pytestmark = pytest.mark.broker


def test_an_event_of_a_committed_transaction_is_handled_once(house: House) -> None:
    with house.worker():
        house.emit(1)
        eventually(lambda: house.effects() == [1])
        house.emit(2, 3)
        eventually(lambda: house.effects() == [1, 2, 3])
        eventually(lambda: house.unpublished() == 0)


def test_an_event_of_a_rolled_back_transaction_never_goes_out(house: House) -> None:
    with house.worker():
        with pytest.raises(ZeroDivisionError), house.app.app_context(), transaction() as session:
            session.add(new_event(THING, subject="somebody", data={"n": 1}))
            session.flush()
            raise ZeroDivisionError
        house.emit(2)
        eventually(lambda: house.effects() == [2])
    assert house.effects() == [2]
    assert len(house.outbox()) == 1
