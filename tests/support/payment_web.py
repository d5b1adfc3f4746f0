"""payment as gunicorn serves it, with a kill -9 of its process at the step that a request names in `X-Die`."""

import os

import orjson
from flask import Flask, Response, has_request_context, request

from common.identity import init_identity
from payment.app import create_app
from tests.support.seams import SEAMS, die, die_at

ANSWER = "before the answer"


def serve() -> Flask:
    app = create_app()
    init_identity(app, lambda: orjson.loads(os.environ["TEST_JWKS"]))
    for seam in SEAMS:
        die_at(seam, when=lambda seam=seam: _wanted(seam))  # type: ignore[misc]

    @app.after_request
    def _last(response: Response) -> Response:
        if _wanted(ANSWER):
            die()
        return response

    return app


def _wanted(seam: str) -> bool:
    return has_request_context() and request.headers.get("X-Die") == seam
