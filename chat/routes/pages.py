"""The customer's chat page and the agent's console: static files, with a Content-Security-Policy of their own."""

from pathlib import Path

from flask import Response, send_from_directory

import common
from chat.routes.blueprint import routes

FOLDER = Path(__file__).parents[1] / "static"
FONTS = {"NotoSansSinhala-Regular.ttf", "NotoSansTamil-Regular.ttf"}
"""For devices without letters of these languages; they lie with the fonts of printed documents."""
FONT_FOLDER = Path(common.__file__).parent / "documents" / "fonts"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No inline script or style, nothing from elsewhere: a message that looks like markup stays text."""


@routes.get("/client/", defaults={"name": "client.html"})
@routes.get("/console/", defaults={"name": "console.html"})
@routes.get("/client/<name>")
@routes.get("/console/<name>")
def get_page(name: str) -> Response:
    """A page, or what it is made of. Asked for anew each time, so that a release is seen at once (304 otherwise)."""
    response = send_from_directory(FONT_FOLDER if name in FONTS else FOLDER, name)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response
