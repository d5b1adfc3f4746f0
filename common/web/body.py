"""Reading a request's body, query and path into pydantic models."""

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import MultiDict

from common.errors import MalformedRequest, UnsupportedMediaType, ValidationFailed
from common.web.problems import from_validation

M = TypeVar("M", bound=BaseModel)
NDJSON = "application/x-ndjson"


def read_body(model: type[M]) -> M:
    """The JSON body as `model`; where `model.NDJSON` names a field, a body of a JSON text a line is its items.

    Raises MalformedRequest, UnsupportedMediaType or ValidationFailed.
    """
    raw = request.get_data(cache=True)
    rows = getattr(model, "NDJSON", None)
    if rows is not None and request.mimetype == NDJSON:
        raw = b'{"%s":[%s]}' % (rows.encode(), b",".join(line for line in raw.splitlines() if line.strip()))
    elif request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        if raw or request.mimetype:
            raise UnsupportedMediaType()
        raw = b"{}"
    if b"NaN" in raw or b"Infinity" in raw:  # numbers for pydantic, but not for JSON
        _loads(raw)
    try:
        parsed = model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise from_validation(error) from None
    if b"\\u0000" in raw or b"\x00" in raw:
        refuse_nul(_loads(raw), "body")
    return parsed


def _loads(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise MalformedRequest("The body is not valid JSON") from None


def read_form(model: type[M], files: str) -> M:
    """The text fields of a multipart body as `model`; the uploads named `files` (with or without `[]`) stay in
    `request.files`.

    Raises UnsupportedMediaType or ValidationFailed (an unknown or repeated field, an upload by another name).
    """
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("The body must be multipart/form-data")
    bare = files.removesuffix("[]")
    unknown = [
        {"field": name, "message": "unknown upload"} for name in request.files if name not in (files, bare)
    ]
    if unknown:
        raise ValidationFailed(errors=unknown)
    return _read_strings(model, request.form, "form")


def read_query(model: type[M]) -> M:
    """The query string as `model`. A parameter given twice is refused, as is an unknown one."""
    return _read_strings(model, request.args, "query")


def _read_strings(model: type[M], given: MultiDict[str, str], where: str) -> M:
    values: dict[str, str] = {}
    for name, many in given.lists():
        if len(many) > 1:
            raise ValidationFailed(errors=[{"field": name, "message": "given more than once"}])
        values[name] = many[0]
    refuse_nul(values, where)
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        raise from_validation(error) from None


def refuse_nul(value: Any, field: str) -> None:
    """NUL cannot be stored by Postgres, and U+FFFD from undecodable bytes in a query should not be."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValidationFailed(errors=[{"field": field, "message": "must not contain a NUL character"}])
        if field.startswith("query") and "\ufffd" in value:
            raise MalformedRequest("The query string is not valid UTF-8")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            refuse_nul(key, field)
            refuse_nul(item, f"{field}.{key}".removeprefix("body."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            refuse_nul(item, f"{field}.{index}")
