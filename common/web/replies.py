"""Serialising answers. Call `reply` inside the transaction: an idempotent answer is kept with the work itself."""

from typing import Any

import orjson
from flask import Response
from pydantic import BaseModel

from common.db.pages import Page
from common.web import idempotency


def reply(
    body: BaseModel | dict[str, Any] | list[Any] | bytes | None,
    status: int = 200,
    *,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Response:
    """A response of JSON (or of bytes as they are; None is an empty body)."""
    response = Response(_bytes(body), status, headers, content_type=content_type)
    return idempotency.keep(response)


def reply_page(page: Page[Any], model: type[BaseModel] | None = None) -> Response:
    """`{"items": […], "next_cursor": …}`; items are dicts, or objects that `model.of` turns into models."""
    items = page.items if model is None else [model.of(item).model_dump(mode="json") for item in page.items]  # type: ignore[attr-defined]
    return reply({"items": items, "next_cursor": page.next_cursor})


def _bytes(body: BaseModel | dict[str, Any] | list[Any] | bytes | None) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    if isinstance(body, BaseModel):
        return body.model_dump_json().encode()
    return orjson.dumps(body, option=orjson.OPT_UTC_Z, default=_default)


def _default(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(type(value).__name__)
