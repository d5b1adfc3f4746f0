"""Wiring of chat."""

import os

from flask import Flask

from chat.config import AsyncMode, Settings
from chat.errors import ERRORS
from chat.routes import routes
from chat.sockets import Sockets
from common.web import create_web_app


def create_app(
    settings: Settings | None = None, *, async_mode: AsyncMode = "threading", manager: object = None
) -> Flask:
    """The Flask application of chat with its Socket.IO side; settings come from the environment when not given.

    `chat.server` gives the async mode that it serves in, and the manager through which its clients hear of other
    processes; commands, workers and tests need neither.
    """
    settings = settings or Settings.from_env(os.environ)
    app = create_web_app(
        settings,
        "chat",
        prefix="/api/chat",
        routes=routes,
        errors=ERRORS,
        title="Sri-Care chat",
        description="Conversations with customer care; live over Socket.IO at `/api/chat/socket.io`, `/chat`.",
    )
    Sockets(app, settings, async_mode, manager)
    return app
