"""`@operation`: what a route takes, answers and demands, in one place; checked at run time and shown in OpenAPI."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flask import Response, request
from pydantic import BaseModel

from common.errors import AppError
from common.identity import authorise
from common.web import idempotency
from common.web.body import read_body, read_form, read_query

View = Callable[..., Response]


@dataclass(frozen=True)
class Operation:
    """The declared side of a view. `roles=None` is public, `()` any signed-in user, else one of the roles."""

    summary: str
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    returns: Mapping[int, Any] = field(default_factory=dict)
    roles: tuple[str, ...] | None = ()
    idempotency: Literal["required", "accepted", "none"] = "none"
    raises: tuple[type[AppError], ...] = ()
    page: bool = False
    content_type: str = "application/json"
    description: str = ""
    form: type[BaseModel] | None = None
    files: str = ""


def operation(
    summary: str,
    *,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    returns: Mapping[int, Any] | None = None,
    roles: tuple[str, ...] | None = (),
    idempotent: bool = False,
    optimistic: bool = False,
    raises: tuple[type[AppError], ...] = (),
    page: bool = False,
    content_type: str = "application/json",
    form: type[BaseModel] | None = None,
    files: str = "",
    max_body: int | None = None,
) -> Callable[[View], View]:
    """Declare a route: validation, authorisation and idempotency around the view, and its OpenAPI entry.

    The view gets `body=` and `query=` as models when declared, besides the path's arguments. `returns` maps status to
    model (None: no body); `page=True` wraps it into `{"items": […], "next_cursor"}`. `idempotent=True` demands an
    Idempotency-Key; every other POST accepts one. An `optimistic` view begins before it is known that its key is new,
    and is undone with its first transaction when it is not: what that does not undo comes after `look_up_key()`. `form`
    takes multipart/form-data instead of JSON, with the uploads named `files` left in `request.files`; `max_body` raises
    the limit for this route, once the caller is let in, and without a form or a model the view reads the body from
    `request.stream`.
    """

    def wrap(view: View) -> View:
        declared = Operation(
            summary, body, query, returns or {200: None}, roles, "required" if idempotent else "accepted",
            raises, page, content_type, (view.__doc__ or "").strip(), form, files,
        )  # fmt: skip

        @functools.wraps(view)
        def run(**kwargs: Any) -> Response:
            caller = "anonymous" if roles is None else authorise(roles).user_id
            if max_body is not None:
                request.max_content_length = max_body
            if request.method == "POST":
                streamed = max_body is not None and body is None and form is None
                return idempotency.run(
                    lambda: call(kwargs),
                    caller,
                    required=idempotent,
                    streamed=streamed,
                    optimistic=optimistic,
                )
            return call(kwargs)

        def call(kwargs: dict[str, Any]) -> Response:
            if body is not None:
                kwargs["body"] = read_body(body)
            if form is not None:
                kwargs["form"] = read_form(form, files)
            if query is not None:
                kwargs["query"] = read_query(query)
            return view(**kwargs)

        run.operation = declared  # type: ignore[attr-defined]
        return run

    return wrap


def declared_operation(view: Callable[..., Any]) -> Operation | None:
    """The declaration behind a registered view function, if it has one."""
    return getattr(view, "operation", None)
