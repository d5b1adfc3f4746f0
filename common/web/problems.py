"""RFC 9457 problem documents: every error that a client sees is made here."""

import logging
from typing import Any

import orjson
from flask import Flask, Response, request
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from common import context
from common.db.transactions import lost_race
from common.errors import (
    COMMON_ERRORS,
    AppError,
    Conflict,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    InternalError,
    MalformedRequest,
    ServiceUnavailable,
    ValidationFailed,
)

log = logging.getLogger(__name__)


_BY_STATUS = {error.status: error for error in reversed(COMMON_ERRORS) if error is not IdempotencyKeyReused}
_BY_STATUS |= {400: MalformedRequest, 409: Conflict, 422: ValidationFailed, 503: ServiceUnavailable}


def problem_response(error: AppError) -> Response:
    """The problem document of a refusal."""
    document: dict[str, Any] = {
        "type": f"urn:sri-care:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": request.path,
        "code": error.code,
        "request_id": context.request_id.get(),
    }
    if error.errors is not None:
        document["errors"] = list(error.errors)
    if error.extra:
        document |= error.extra
    response = Response(orjson.dumps(document), error.status, content_type="application/problem+json")
    if error.headers:
        response.headers.extend(error.headers)
    if error.retry_after is not None or error.status in (429, 503):
        response.headers["Retry-After"] = str(max(1, round(error.retry_after or 1)))
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="sri-care"'
    return response


def from_validation(error: ValidationError) -> AppError:
    """The refusal for what pydantic did not accept: 400 when it is not even JSON, else 422 with the fields."""
    items = error.errors(include_url=False, include_context=False, include_input=False)
    if any(item["type"] == "json_invalid" for item in items):
        return MalformedRequest("The body is not valid JSON")
    errors = [
        {
            "field": ".".join(str(part) for part in item["loc"]) or "body",
            "message": item["msg"].removeprefix("Value error, "),
        }
        for item in items[:50]
    ]
    return ValidationFailed("; ".join(f"{e['field']}: {e['message']}" for e in errors[:3]), errors=errors)


def from_http(error: HTTPException) -> AppError:
    """The refusal for one of Flask's or Werkzeug's own exceptions."""
    status = error.code or 500
    kind = _BY_STATUS.get(status, MalformedRequest if status < 500 else InternalError)
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return kind(headers=headers)


def from_database(error: Exception) -> AppError:
    """503 for a database that is away, locked or overloaded; 409 for a race lost twice; else our own fault, 500."""
    if isinstance(error, DBAPIError) and lost_race(error):
        return Conflict("Another request changed the same thing, try again")
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        log.warning("database unavailable: %s", type(error).__name__, exc_info=error)
        return DatabaseUnavailable(retry_after=1)
    log.error("database error", exc_info=error)
    return InternalError()


def install_problems(app: Flask) -> None:
    """Map every exception that leaves a view, or Flask itself, to a problem response."""

    @app.errorhandler(AppError)
    def _refusal(error: AppError) -> Response:
        return problem_response(error)

    @app.errorhandler(ValidationError)
    def _invalid(error: ValidationError) -> Response:
        """A model of our own: what clients send is checked before. Its message would hold what it was made of."""
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        bare = ValueError(f"{error.title}: {faults}")
        log.error("a model of ours is not valid", exc_info=(type(error), bare, error.__traceback__))
        return problem_response(InternalError())

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        return problem_response(from_http(error))

    @app.errorhandler(DBAPIError)
    @app.errorhandler(PoolTimeout)
    def _database(error: Exception) -> Response:
        return problem_response(from_database(error))

    @app.errorhandler(Exception)
    def _unexpected(error: Exception) -> Response:
        log.error("unhandled exception", exc_info=error)
        return problem_response(InternalError())
