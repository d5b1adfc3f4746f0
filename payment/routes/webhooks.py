"""Callbacks of the card gateways: signed, and only ever hints. What happened is asked at the gateway."""

import logging

from flask import Response, request

from common.db import transaction
from common.errors import NotFound
from common.web import operation, reply
from payment.errors import NoticeNotAuthentic
from payment.gateway import NoticeRefused
from payment.routes.blueprint import gateways, routes
from payment.schemas import ReceivedOut
from payment.use_cases.notices import take_notice

log = logging.getLogger(__name__)


@routes.post("/webhooks/<gateway>")
@operation(
    "Callback of a card gateway",
    returns={200: ReceivedOut},
    roles=None,
    raises=(NotFound, NoticeNotAuthentic),
)
def post_webhook(gateway: str) -> Response:
    """Late, repeated and out-of-order callbacks are harmless; one about what is not ours is taken and ignored."""
    if not gateways().knows(gateway):
        raise NotFound()
    try:
        notice = gateways().named(gateway).read_notice(request.get_data(), dict(request.headers))
    except NoticeRefused as refusal:
        log.warning("webhook of %s refused: %s", gateway, refusal)
        raise NoticeNotAuthentic() from None
    if notice is not None:
        with transaction() as session:
            take_notice(session, gateway, notice)
    return reply(ReceivedOut())
