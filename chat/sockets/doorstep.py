"""What stands between the web server and Engine.IO: the house's headers, and refusals as problem documents.

Socket.IO answers in front of the application's frame, which would log every poll.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from werkzeug.exceptions import default_exceptions

from common import context, ids
from common.errors import AppError, MalformedRequest
from common.web.frame import security_headers
from common.web.problems import from_http, problem_response

PATH = "/api/chat/socket.io"
Wsgi = Callable[..., Iterable[bytes]]


def with_doorstep(app: Flask, inner: Wsgi, *, secure: bool) -> Wsgi:
    """The WSGI application with its doorstep; what is not for Engine.IO passes as it is. `secure`: behind TLS."""
    house = security_headers(secure=secure)

    def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith(PATH):
            return inner(environ, start_response)
        refused: list[tuple[int, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            if status < "4":
                return start_response(status, [*headers, *house], *exc_info)
            refused.append((int(status[:3]), headers))
            return lambda _: None

        body = inner(environ, start)
        if not refused:
            return body
        status, headers = refused[0]
        kept = [header for header in headers if header[0].startswith("Access-Control-")]
        return _refusal(app, environ, start_response, status, [*kept, *house])

    return wsgi


def _refusal(
    app: Flask,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    status: int,
    headers: list[tuple[str, str]],
) -> Iterable[bytes]:
    with app.request_context(environ):
        request_id = ids.new_id()
        context.request_id.set(request_id)
        answer = problem_response(_error(status))
        answer.headers.extend(headers)
        answer.headers["X-Request-ID"] = request_id
        return answer(environ, start_response)


def _error(status: int) -> AppError:
    if status == 400:
        return MalformedRequest("This is not a request of Engine.IO 4, or its session has ended")
    return from_http(default_exceptions[status]())
