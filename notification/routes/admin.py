"""Staff's views: messages on their way, and texts."""

import logging
from collections.abc import Mapping

from flask import Response

from common.db import Page, reading, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page
from notification import queries, rendering, templating
from notification.errors import (
    DeliveryNotRetryable,
    TextNotUsable,
)
from notification.gateway.sms import sms_size
from notification.models import Language
from notification.routes.base import routes
from notification.schemas.admin import (
    AdminDeliveriesQuery,
    AdminDeliveryDetailOut,
    AdminDeliveryOut,
    EventTextsOut,
    PreviewOut,
    ProofOut,
    TextIn,
    TextOut,
)
from notification.use_cases import sending, texts

log = logging.getLogger(__name__)


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


@routes.get("/admin/deliveries/<id:delivery_id>/proof")
@operation(
    "Prove that a message was sent",
    returns={200: ProofOut},
    roles=("admin", "agent"),
    raises=(NotFound,),
)
def get_proof(delivery_id: str) -> Response:
    """To whom, when, in which version of the text and which words, what the provider called it, and its receipt."""
    with reading() as session:
        found = queries.get_proof(session, delivery_id)
        extra = {"delivery_id": delivery_id, "user_id": found[0].user_id, "staff_id": identity().user_id}
        log.info("proof of delivery shown to staff", extra=extra)
        return reply(ProofOut.of_proof(*found))


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


@routes.get("/admin/templates")
@operation(
    "List what customers are told of, and by which channels",
    returns={200: EventTextsOut},
    roles=("admin",),
    page=True,
)
def list_templates() -> Response:
    return reply_page(Page(list(rendering.texts()), None), EventTextsOut)


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
