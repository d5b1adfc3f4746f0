"""Users' browsers and webhooks."""

from flask import Response

from common.db import PageQuery, reading, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page
from common.web.idempotency import work_id
from notification import queries
from notification.errors import (
    DeliveryNotRetryable,
    PushNotConfigured,
    TargetNotAllowed,
    TooManyDevices,
    TooManyWebhooks,
)
from notification.gateway.push import VapidKey
from notification.routes.base import routes, settings
from notification.schemas.targets import (
    DeliveryOut,
    DeviceIn,
    DeviceOut,
    PushKeyOut,
    WebhookCreatedOut,
    WebhookIn,
    WebhookOut,
)
from notification.use_cases import endpoints


@routes.get("/devices/key")
@operation(
    "Show the key that browsers subscribe with", returns={200: PushKeyOut}, raises=(PushNotConfigured,)
)
def get_push_key() -> Response:
    return reply(PushKeyOut(public_key=VapidKey(_vapid_private_key()).public))


@routes.get("/devices")
@operation("List subscribed browsers", query=PageQuery, returns={200: DeviceOut}, page=True)
def list_devices(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_devices(session, identity().user_id, query), DeviceOut)


@routes.post("/devices")
@operation(
    "Subscribe a browser to web push",
    body=DeviceIn,
    returns={201: DeviceOut},
    raises=(PushNotConfigured, TargetNotAllowed, TooManyDevices),
)
def post_device(body: DeviceIn) -> Response:
    _vapid_private_key()
    with transaction() as session:
        device = endpoints.add_device(
            session,
            device_id=work_id(),
            user_id=identity().user_id,
            endpoint=body.endpoint,
            p256dh=body.keys.p256dh,
            auth=body.keys.auth,
            public_only=not settings().private_targets,
        )
        session.flush()
        return reply(DeviceOut.of(device), 201)


@routes.delete("/devices/<id:device_id>")
@operation("Unsubscribe a browser", returns={204: None}, raises=(NotFound,))
def delete_device(device_id: str) -> Response:
    with transaction() as session:
        endpoints.remove_device(session, user_id=identity().user_id, device_id=device_id)
        return reply(None, 204)


@routes.get("/webhooks")
@operation("List webhooks", query=PageQuery, returns={200: WebhookOut}, page=True)
def list_webhooks(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_webhooks(session, identity().user_id, query), WebhookOut)


@routes.post("/webhooks")
@operation(
    "Add a webhook",
    body=WebhookIn,
    returns={201: WebhookCreatedOut},
    raises=(TargetNotAllowed, TooManyWebhooks),
)
def post_webhook(body: WebhookIn) -> Response:
    """Calls are signed as Standard Webhooks have it (`webhook-id`, `webhook-timestamp`, `webhook-signature`), repeated
    with growing pauses for three days, and redirects are not followed. After five days of nothing else it is disabled.
    """
    with transaction() as session:
        webhook = endpoints.add_webhook(
            session,
            webhook_id=work_id(),
            user_id=identity().user_id,
            url=body.url,
            event_types=body.event_types,
            description=body.description,
            public_only=not settings().private_targets,
        )
        session.flush()
        return reply(WebhookCreatedOut.of(webhook), 201)


@routes.get("/webhooks/<id:webhook_id>")
@operation("Show a webhook", returns={200: WebhookOut}, raises=(NotFound,))
def get_webhook(webhook_id: str) -> Response:
    with reading() as session:
        return reply(
            WebhookOut.of(endpoints.get_webhook(session, user_id=identity().user_id, webhook_id=webhook_id))
        )


@routes.delete("/webhooks/<id:webhook_id>")
@operation("Remove a webhook", returns={204: None}, raises=(NotFound,))
def delete_webhook(webhook_id: str) -> Response:
    with transaction() as session:
        endpoints.remove_webhook(session, user_id=identity().user_id, webhook_id=webhook_id)
        return reply(None, 204)


@routes.post("/webhooks/<id:webhook_id>/enable")
@operation("Enable a webhook that was disabled", returns={200: WebhookOut}, raises=(NotFound,))
def post_webhook_enable(webhook_id: str) -> Response:
    with transaction() as session:
        webhook = endpoints.enable_webhook(session, user_id=identity().user_id, webhook_id=webhook_id)
        return reply(WebhookOut.of(webhook))


@routes.post("/webhooks/<id:webhook_id>/test")
@operation("Have a test call made", returns={202: DeliveryOut}, raises=(NotFound,))
def post_webhook_test(webhook_id: str) -> Response:
    with transaction() as session:
        delivery = endpoints.test_webhook(
            session, delivery_id=work_id(), user_id=identity().user_id, webhook_id=webhook_id
        )
        session.flush()
        return reply(DeliveryOut.of(delivery), 202)


@routes.get("/webhooks/<id:webhook_id>/deliveries")
@operation(
    "List the calls of a webhook", query=PageQuery, returns={200: DeliveryOut}, page=True, raises=(NotFound,)
)
def list_webhook_deliveries(webhook_id: str, query: PageQuery) -> Response:
    with reading() as session:
        endpoints.get_webhook(session, user_id=identity().user_id, webhook_id=webhook_id)
        return reply_page(queries.list_webhook_deliveries(session, webhook_id, query), DeliveryOut)


@routes.post("/webhooks/<id:webhook_id>/deliveries/<id:delivery_id>/redeliver")
@operation("Have a call made again", returns={202: DeliveryOut}, raises=(NotFound, DeliveryNotRetryable))
def post_redeliver(webhook_id: str, delivery_id: str) -> Response:
    with transaction() as session:
        delivery = endpoints.redeliver(
            session, user_id=identity().user_id, webhook_id=webhook_id, delivery_id=delivery_id
        )
        return reply(DeliveryOut.of(delivery), 202)


def _vapid_private_key() -> str:
    """Raises PushNotConfigured."""
    key = settings().vapid_private_key
    if key is None:
        raise PushNotConfigured()
    return key
