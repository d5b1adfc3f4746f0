"""Refusals: what a use case raises instead of returning. `common.web.problems` turns them into problem documents."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class AppError(Exception):
    """A refusal. Subclasses set status, code and title; services keep theirs in `errors.py`.

    `errors` name the fields that are wrong; without them it is `field`, where a refusal has one. `extra` are further
    members of the problem document; `retry_after` is in seconds.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    title: ClassVar[str] = "Bad request"
    field: ClassVar[str | None] = None

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[Mapping[str, str]] | None = None,
        extra: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = errors
        if errors is None and self.field is not None:
            self.errors = [{"field": self.field, "message": self.detail}]
        self.extra = extra
        self.retry_after = retry_after
        self.headers = headers


class MalformedRequest(AppError):
    status, code, title = 400, "malformed_request", "The request cannot be read"


class IdempotencyKeyRequired(AppError):
    status, code, title = 400, "idempotency_key_required", "This request needs an Idempotency-Key header"


class Unauthorized(AppError):
    status, code, title = 401, "unauthorized", "A valid access token is needed"


class Forbidden(AppError):
    status, code, title = 403, "forbidden", "Not allowed for this user"


class NotFound(AppError):
    status, code, title = 404, "not_found", "There is no such thing, or it is not yours"


class MethodNotAllowed(AppError):
    status, code, title = 405, "method_not_allowed", "This method is not offered here"


class NotAcceptable(AppError):
    status, code, title = 406, "not_acceptable", "No acceptable form of the answer"


class Conflict(AppError):
    status, code, title = 409, "conflict", "The current state does not allow this"


class RequestInProgress(AppError):
    status, code, title = (
        409,
        "request_in_progress",
        "The first request with this Idempotency-Key is still running",
    )


class BodyTooLarge(AppError):
    status, code, title = 413, "body_too_large", "The request body is too large"


class UnsupportedMediaType(AppError):
    status, code, title = 415, "unsupported_media_type", "The body must be application/json"


class ValidationFailed(AppError):
    status, code, title = 422, "validation_failed", "Some fields are not valid"
    field = "body"


class IdempotencyKeyReused(ValidationFailed):
    code, title = "idempotency_key_reused", "This Idempotency-Key came with another body before"
    field = "Idempotency-Key"


class TooManyRequests(AppError):
    status, code, title = 429, "too_many_requests", "Too many requests"


class InternalError(AppError):
    status, code, title = 500, "internal_error", "Something went wrong on our side"


class ServiceUnavailable(AppError):
    status, code, title = 503, "service_unavailable", "Not possible right now, try again soon"


class DatabaseUnavailable(ServiceUnavailable):
    code = "database_unavailable"


COMMON_ERRORS: tuple[type[AppError], ...] = (
    MalformedRequest,
    IdempotencyKeyRequired,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    Conflict,
    RequestInProgress,
    BodyTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
    IdempotencyKeyReused,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    DatabaseUnavailable,
)
