"""HTTP in: `/api/notifications`, a user's own inbox, choices and addresses; what providers say; staff's views."""

import logging
from collections.abc import Mapping
from html import escape

from flask import Blueprint, Response, current_app, request
from sqlalchemy.orm import Session

from common.db import PageQuery, reading, transaction
from common.errors import NotFound, Unauthorized
from common.identity import identity
from common.ids import is_id
from common.web import operation, reply, reply_page
from common.web.idempotency import work_id
from notification import callbacks, queries, rendering, templating
from notification.config import Settings
from notification.errors import (
    CategoryMandatory,
    DeliveryNotRetryable,
    PushNotConfigured,
    StreamsUnavailable,
    TargetNotAllowed,
    TextNotUsable,
    TooManyDevices,
    TooManyStreams,
    TooManyWebhooks,
)
from notification.gateway.push import VapidKey
from notification.gateway.sms import sms_size
from notification.models import Language
from notification.schemas import (
    AdminDeliveriesQuery,
    AdminDeliveryDetailOut,
    AdminDeliveryOut,
    DeliveryOut,
    DeviceIn,
    DeviceOut,
    InboxQuery,
    NotificationOut,
    PreferencesIn,
    PreferencesOut,
    PreviewOut,
    PushKeyOut,
    ReadAllOut,
    TextIn,
    TextOut,
    UnreadCountOut,
    UnsubscribedOut,
    UnsubscribeQuery,
    WebhookCreatedOut,
    WebhookIn,
    WebhookOut,
)
from notification.streams import Streams
from notification.use_cases import endpoints, inbox, preferences, sending, texts

log = logging.getLogger(__name__)
routes = Blueprint("notification", __name__)


@routes.get("")
@operation("List notifications", query=InboxQuery, returns={200: NotificationOut}, page=True)
def list_notifications(query: InboxQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_notifications(session, identity().user_id, query, unread=query.unread))


@routes.get("/unread-count")
@operation("Count unread notifications", returns={200: UnreadCountOut})
def get_unread_count() -> Response:
    with reading() as session:
        return reply(UnreadCountOut(unread=queries.count_unread(session, identity().user_id)))


@routes.post("/<id:notification_id>/read")
@operation("Mark a notification as read", returns={200: NotificationOut}, raises=(NotFound,))
def post_read(notification_id: str) -> Response:
    with transaction() as session:
        found = inbox.read_notification(session, user_id=identity().user_id, notification_id=notification_id)
        return reply(NotificationOut.of(found))


@routes.post("/read-all")
@operation("Mark all notifications as read", returns={200: ReadAllOut})
def post_read_all() -> Response:
    with transaction() as session:
        return reply(ReadAllOut(read=inbox.read_all(session, user_id=identity().user_id)))


@routes.delete("/<id:notification_id>")
@operation("Delete a notification", returns={204: None}, raises=(NotFound,))
def delete_notification(notification_id: str) -> Response:
    with transaction() as session:
        inbox.delete_notification(session, user_id=identity().user_id, notification_id=notification_id)
        return reply(None, 204)


@routes.get("/stream")
@operation(
    "Follow one's inbox as server-sent events",
    content_type="text/event-stream",
    raises=(TooManyStreams, StreamsUnavailable),
)
def get_stream() -> Response:
    """`event: notification` with a notification as `data` for each new one. `Last-Event-ID` (a notification's id)
    brings up to 100 that came after it. The stream ends with the access token: open it again with a new one."""
    last = request.headers.get("Last-Event-ID", "")
    streams: Streams = current_app.extensions["notification_streams"]
    body = streams.open(request.environ, identity(), last if is_id(last) else None)
    return Response(body, content_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@routes.get("/preferences")
@operation("Show what one is told by which channel", returns={200: PreferencesOut})
def get_preferences() -> Response:
    with reading() as session:
        return reply(_preferences_of(session))


@routes.put("/preferences")
@operation(
    "Choose what to be told by which channel",
    body=PreferencesIn,
    returns={200: PreferencesOut},
    raises=(CategoryMandatory,),
)
def put_preferences(body: PreferencesIn) -> Response:
    with transaction() as session:
        changed = preferences.change_preferences(
            session,
            user_id=identity().user_id,
            channels={
                category: channels.model_dump(exclude_none=True)
                for category, channels in body.categories.items()
            },
            language=body.language,
        )
        quiet = body.quiet_hours
        if "quiet_hours" in body.model_fields_set:
            preferences.set_quiet_hours(
                changed,
                start=quiet.start if quiet else None,
                end=quiet.end if quiet else None,
                timezone=quiet.timezone if quiet else None,
            )
        session.flush()
        return reply(_preferences_of(session))


def _preferences_of(session: Session) -> PreferencesOut:
    preference, profile = queries.preference_of(session, identity().user_id)
    return PreferencesOut.of(preference, profile)


@routes.get("/unsubscribe")
@operation(
    "Show the page that an unsubscribe link opens",
    query=UnsubscribeQuery,
    roles=None,
    content_type="text/html",
)
def get_unsubscribe(query: UnsubscribeQuery) -> Response:
    """Changes nothing: mail scanners open links. The page's button does."""
    page = _UNSUBSCRIBE_PAGE.format(category=escape(query.category.value))
    return reply(page.encode(), content_type="text/html; charset=utf-8")


_UNSUBSCRIBE_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sri-Care</title></head><body><form method="post">
<p>No more e-mails about <b>{category}</b>? &middot; <b>{category}</b> පිළිබඳ විද්‍යුත් තැපැල් නවත්වන්නද? &middot;
<b>{category}</b> பற்றிய மின்னஞ்சல்களை நிறுத்தவா?</p>
<p><button type="submit">Unsubscribe &middot; නවත්වන්න &middot; நிறுத்து</button></p></form></body></html>
"""


@routes.post("/unsubscribe")
@operation(
    "Unsubscribe from e-mails of a category by one click",
    query=UnsubscribeQuery,
    returns={200: UnsubscribedOut},
    roles=None,
    raises=(NotFound,),
)
def post_unsubscribe(query: UnsubscribeQuery) -> Response:
    """RFC 8058: mail programs post here when the reader clicks their button."""
    with transaction() as session:
        preferences.unsubscribe(session, token=query.token, category=query.category)
        return reply(UnsubscribedOut(category=query.category, email=False))


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
            public_only=not _settings().private_targets,
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
            public_only=not _settings().private_targets,
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


@routes.post("/sms/<provider>/receipts")
@operation(
    "Take a receipt of an SMS provider", returns={204: None}, roles=None, raises=(NotFound, Unauthorized)
)
def post_sms_receipt(provider: str) -> Response:
    """`http`: JSON `{reference, status: delivered|failed, reason?}`, signed as Standard Webhooks have it. `twilio`: its
    status callback. Repeats change nothing."""
    receipt = callbacks.read_receipt(provider)
    if receipt.delivered is not None:
        with transaction() as session:
            sending.note_receipt(
                session,
                provider=provider,
                reference=receipt.reference,
                delivered=receipt.delivered,
                reason=receipt.reason,
            )
            return reply(None, 204)
    return reply(None, 204)


@routes.post("/sms/<provider>/inbound")
@operation("Take a customer's SMS", returns={204: None}, roles=None, raises=(NotFound, Unauthorized))
def post_sms_inbound(provider: str) -> Response:
    """STOP ends all SMS that can be switched off, START resumes them; other words change nothing."""
    message = callbacks.read_inbound(provider)
    with transaction() as session:
        preferences.hear_keyword(session, phone=message.phone, text=message.text)
        return reply(None, 204)


@routes.get("/admin/deliveries")
@operation(
    "List messages on their way",
    query=AdminDeliveriesQuery,
    returns={200: AdminDeliveryOut},
    roles=("admin", "agent"),
    page=True,
)
def list_deliveries(query: AdminDeliveriesQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_deliveries(session, query), AdminDeliveryOut)


@routes.get("/admin/deliveries/<id:delivery_id>")
@operation(
    "Show a message on its way with its attempts",
    returns={200: AdminDeliveryDetailOut},
    roles=("admin", "agent"),
    raises=(NotFound,),
)
def get_delivery(delivery_id: str) -> Response:
    with reading() as session:
        return reply(AdminDeliveryDetailOut.with_tries(*queries.get_delivery(session, delivery_id)))


@routes.post("/admin/deliveries/<id:delivery_id>/retry")
@operation(
    "Try a failed message again now",
    returns={202: AdminDeliveryOut},
    roles=("admin",),
    raises=(NotFound, DeliveryNotRetryable),
)
def post_delivery_retry(delivery_id: str) -> Response:
    with transaction() as session:
        delivery = sending.retry_delivery(session, delivery_id)
        log.info(
            "delivery retried by staff",
            extra={"delivery_id": delivery_id, "user_id": delivery.user_id, "staff_id": identity().user_id},
        )
        return reply(AdminDeliveryOut.of(delivery), 202)


@routes.get("/admin/templates/<code>/<language>/<channel>")
@operation("Show a text", returns={200: TextOut}, roles=("admin",), raises=(NotFound,))
def get_template(code: str, language: str, channel: str) -> Response:
    with reading() as session:
        version, parts = texts.current_text(session, code=code, language=_language(language), channel=channel)
        return reply(_text(code, language, channel, version, parts))


@routes.put("/admin/templates/<code>/<language>/<channel>")
@operation(
    "Write a new version of a text", body=TextIn, returns={200: TextOut}, roles=("admin",),
    raises=(NotFound, TextNotUsable),
)  # fmt: skip
def put_template(code: str, language: str, channel: str, body: TextIn) -> Response:
    """Workers use it within seconds. Refused: loops, calls, arithmetic, and fields that the event may lack."""
    with transaction() as session:
        version = texts.change_text(
            session,
            code=code,
            language=_language(language),
            channel=channel,
            parts=body.parts,
            author_id=identity().user_id,
        )
        return reply(_text(code, language, channel, version, body.parts))


@routes.post("/admin/templates/<code>/<language>/<channel>/preview")
@operation(
    "Fill in a text with sample data", body=TextIn, returns={200: PreviewOut}, roles=("admin",),
    raises=(NotFound, TextNotUsable),
)  # fmt: skip
def post_template_preview(code: str, language: str, channel: str, body: TextIn) -> Response:
    texts.check_text(code, _language(language), channel, body.parts)
    filled = {
        part: rendering.render_source(_language(language), source, templating.sample(code)).strip()
        for part, source in body.parts.items()
    }
    size = sms_size(filled["body"]) if channel == "sms" else None
    return reply(
        PreviewOut(
            title=filled.get("title"),
            body=filled["body"],
            encoding=size.encoding if size else None,
            parts=size.parts if size else None,
        )
    )


def _language(name: str) -> Language:
    """Raises NotFound."""
    try:
        return Language(name)
    except ValueError:
        raise NotFound() from None


def _text(code: str, language: str, channel: str, version: int, parts: Mapping[str, str]) -> TextOut:
    return TextOut(
        code=code,
        language=_language(language),
        channel=channel,
        version=version,
        title=parts.get("title"),
        body=parts["body"],
    )


def _settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found


def _vapid_private_key() -> str:
    """Raises PushNotConfigured."""
    key = _settings().vapid_private_key
    if key is None:
        raise PushNotConfigured()
    return key
