"""The OpenAPI 3.0.3 document, built from the declared operations and their pydantic models; shown by flasgger.

flasgger's own docstring specs drift and its validation lets bad bodies pass, so it only serves the page and the
document. Its Swagger UI knows no OpenAPI 3.1, hence the conversion of pydantic's JSON Schemas.
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flasgger import Swagger
from flask import Flask, Response, request
from jinja2 import ChoiceLoader, FileSystemLoader
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from common.errors import (
    COMMON_ERRORS,
    AppError,
    BodyTooLarge,
    DatabaseUnavailable,
    Forbidden,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InternalError,
    MalformedRequest,
    NotFound,
    RequestInProgress,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
)
from common.web.body import NDJSON
from common.web.operation import Operation, declared_operation

_REF = "#/components/schemas/{model}"
_UI_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)


def install_openapi(
    app: Flask, *, prefix: str, title: str, description: str, errors: tuple[type[AppError], ...]
) -> None:
    """Serve `<prefix>/openapi.json` and Swagger UI at `<prefix>/apidocs/`. Call after all routes are registered."""

    @functools.cache
    def document() -> dict[str, Any]:
        return build_document(app, title=title, description=description, errors=errors)

    templates = FileSystemLoader(Path(__file__).parent / "templates")
    app.jinja_loader = ChoiceLoader([templates, *([app.jinja_loader] if app.jinja_loader else [])])
    config = {
        "openapi": "3.0.3",
        "title": title,
        "headers": [],
        "specs": [{"endpoint": "openapi", "route": "/openapi.json", "rule_filter": lambda _rule: False}],
        "url_prefix": prefix,
        "static_url_path": "/apidocs/static",
        "oauth_redirect": "/apidocs/oauth2-redirect.html",
        "swagger_ui": True,
        "specs_route": "/apidocs/",
    }
    _Documented(document, app=app, config=config)

    @app.after_request
    def _policy(response: Response) -> Response:
        if (request.endpoint or "").startswith("flasgger"):
            response.headers["Content-Security-Policy"] = _UI_POLICY
            if "static" in (request.endpoint or ""):
                response.headers["Cache-Control"] = "public, max-age=86400"
        return response


class _Documented(Swagger):  # type: ignore[misc]
    """flasgger with a finished document, built when it is first asked for: a process that starts needs none."""

    def __init__(self, document: Callable[[], dict[str, Any]], **options: Any) -> None:
        self._document = document
        super().__init__(**options)

    def get_apispecs(self, endpoint: str = "openapi") -> dict[str, Any]:
        return self._document()


def build_document(
    app: Flask, *, title: str, description: str, errors: tuple[type[AppError], ...]
) -> dict[str, Any]:
    """Every declared operation of the application with all that it takes and answers."""
    operations = [
        (rule, method.lower(), found)
        for rule in app.url_map.iter_rules()
        if (found := declared_operation(app.view_functions[rule.endpoint])) is not None
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
    schemas, references = _schemas([operation for _, _, operation in operations])
    codes = sorted({error.code for error in (*COMMON_ERRORS, *errors)})
    schemas["Problem"] = _problem_schema(codes)
    paths: dict[str, Any] = {}
    for rule, method, found in operations:
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        entry = _describe(found, method, rule, references)
        entry["operationId"] = rule.endpoint.rsplit(".", 1)[-1]
        paths.setdefault(path, {})[method] = entry
    return {
        "openapi": "3.0.3",
        "info": {"title": title, "description": description, "version": "1.0.0"},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "accessToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "RS256 access token of `POST /api/auth/login`, valid for 15 minutes",
                }
            },
        },
    }


def _describe(found: Operation, method: str, rule: Any, references: dict[Any, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "summary": found.summary,
        "parameters": _parameters(found, method, rule),
        "responses": {},
    }
    if found.description:
        entry["description"] = found.description
    if found.roles is not None:
        entry["security"] = [{"accessToken": []}]
        who = ", ".join(found.roles) or "any signed-in user"
        entry["description"] = f"{entry.get('description', '')}\n\nRoles: {who}.".strip()
    if found.body is not None:
        entry["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": references[found.body, "validation"]}}},
        }
        if hasattr(found.body, "NDJSON"):
            entry["requestBody"]["content"][NDJSON] = {
                "schema": {"type": "string", "description": f"an item of `{found.body.NDJSON}` on each line"}
            }
    if found.form is not None:
        entry["requestBody"] = {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _form(found, references[found.form, "validation"])}
            },
        }
    for status, model in found.returns.items():
        entry["responses"][str(status)] = _answer(found, model, references)
    for status, refusals in _refusals(found, method, rule).items():
        shown = ", ".join(f"`{error.code}`" for error in refusals)
        answer = entry["responses"].setdefault(str(status), {"description": ""})
        answer["description"] = f"{answer['description']} {shown}".strip()
        answer.setdefault("content", {})["application/problem+json"] = {
            "schema": {"$ref": _REF.format(model="Problem")}
        }
    return entry


def _form(found: Operation, fields: str) -> dict[str, Any]:
    if not found.files:
        return {"$ref": fields}
    upload = {"type": "array", "items": {"type": "string", "format": "binary"}}
    uploads = {"type": "object", "required": [found.files], "properties": {found.files: upload}}
    return {"allOf": [{"$ref": fields}, uploads]}


def _answer(found: Operation, model: Any, references: dict[Any, str]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": found.summary,
        "headers": {
            "X-Request-ID": {"schema": {"type": "string"}, "description": "id of this request in all logs"}
        },
    }
    if model is None:
        if found.content_type != "application/json":
            answer["content"] = {found.content_type: {"schema": {"type": "string", "format": "binary"}}}
        return answer
    schema: dict[str, Any] = {"$ref": references[model, "serialization"]}
    if found.page:
        schema = {
            "type": "object",
            "required": ["items", "next_cursor"],
            "properties": {
                "items": {"type": "array", "items": schema},
                "next_cursor": {"type": "string", "nullable": True},
            },
        }
    answer["content"] = {found.content_type: {"schema": schema}}
    return answer


def _refusals(found: Operation, method: str, rule: Any) -> dict[int, list[type[AppError]]]:
    kinds: list[type[AppError]] = [*found.raises, TooManyRequests, InternalError, DatabaseUnavailable]
    if found.roles is not None:
        kinds += [Unauthorized, *([Forbidden] if found.roles else [])]
    if found.body is not None:
        kinds += [MalformedRequest, BodyTooLarge, UnsupportedMediaType, ValidationFailed]
    if found.form is not None:
        kinds += [BodyTooLarge, UnsupportedMediaType, ValidationFailed]
    if found.query is not None:
        kinds += [ValidationFailed]
    if method == "post":
        kinds += [IdempotencyKeyReused, RequestInProgress]
        kinds += [IdempotencyKeyRequired] if found.idempotency == "required" else []
    if rule.arguments:
        kinds += [NotFound]
    grouped: dict[int, list[type[AppError]]] = {}
    for kind in kinds:
        if kind not in grouped.setdefault(kind.status, []):
            grouped[kind.status].append(kind)
    return dict(sorted(grouped.items()))


def _parameters(found: Operation, method: str, rule: Any) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    for name in sorted(rule.arguments):
        converter = type(rule._converters[name]).__name__
        schema = {"type": "string", "format": "uuid"} if converter == "IdConverter" else {"type": "string"}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    if found.query is not None:
        schema = _to_3_0(found.query.model_json_schema(mode="validation", ref_template=_REF))
        definitions = schema.pop("$defs", {})
        for name, field in schema.get("properties", {}).items():
            parameters.append({
                "name": name,
                "in": "query",
                "required": name in schema.get("required", []),
                "description": field.pop("description", ""),
                "schema": _inline(field, definitions),
            })  # fmt: skip
    if method == "post":
        parameters.append({
            "name": "Idempotency-Key",
            "in": "header",
            "required": found.idempotency == "required",
            "description": "the same key and body get the first answer again, with `Idempotent-Replayed: true`",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        })  # fmt: skip
    return parameters


def _schemas(operations: list[Operation]) -> tuple[dict[str, Any], dict[Any, str]]:
    wanted: dict[tuple[type[BaseModel], Any], None] = {}
    for found in operations:
        if found.body is not None:
            wanted[found.body, "validation"] = None
        if found.form is not None:
            wanted[found.form, "validation"] = None
        for model in found.returns.values():
            if model is not None:
                wanted[model, "serialization"] = None
    if not wanted:
        return {}, {}
    by_model, document = models_json_schema(list(wanted), ref_template=_REF)
    schemas = {name: _to_3_0(schema) for name, schema in document.get("$defs", {}).items()}
    return schemas, {key: str(value["$ref"]) for key, value in by_model.items()}


def _problem_schema(codes: list[str]) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "RFC 9457 problem document",
        "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": text,
            "code": {"type": "string", "enum": codes},
            "request_id": text,
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"field": text, "message": text},
                    "required": ["field", "message"],
                },
            },
        },
    }


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """Query parameters name no components: put what they refer to in their place."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inline(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
        return {key: _inline(value, definitions) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in schema]
    return schema


def _to_3_0(schema: Any) -> Any:
    """A JSON Schema of pydantic (2020-12) as OpenAPI 3.0 has it."""
    if isinstance(schema, list):
        return [_to_3_0(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {
        key: _to_3_0(value)
        for key, value in schema.items()
        if key not in ("examples", "propertyNames", "title")
    }
    if isinstance(schema.get("title"), dict):  # a property that is called title
        converted["title"] = _to_3_0(schema["title"])
    if schema.get("examples") and isinstance(schema["examples"], list):
        converted["example"] = schema["examples"][0]
    if "const" in converted and not isinstance(schema["const"], dict):
        converted["enum"] = [converted.pop("const")]
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(converted.get(bound), int | float) and not isinstance(converted.get(bound), bool):
            converted[limit], converted[bound] = converted[bound], True
    options = converted.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        kept = [option for option in options if option != {"type": "null"}]
        if len(kept) == 1 and "$ref" not in kept[0]:
            converted.pop("anyOf")
            converted = {**kept[0], **converted, "nullable": True}
        else:
            converted |= {"anyOf": kept, "nullable": True}
    if "$ref" in converted and len(converted) > 1:
        converted["allOf"] = [{"$ref": converted.pop("$ref")}]
    if isinstance(converted.get("prefixItems"), list):
        converted["items"] = {"anyOf": converted.pop("prefixItems")}
    return converted
