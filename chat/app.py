"""Wiring of chat."""

import os

from flask import Flask

from chat.config import AsyncMode, Settings
from chat.errors import ERRORS
from chat.fanout import Fanout
from chat.routes import routes
from chat.sockets import Sockets
from common.web import create_web_app


def create_app(
    settings: Settings | None = None,
    *,
    async_mode: AsyncMode = "threading",
    manager: Fanout | None = None,
    tells_only: bool = False,
) -> Flask:
    """The Flask application of chat with its Socket.IO side; settings come from the environment when not given.

    `chat.server` gives the async mode that it serves in, and the manager through which its clients hear of other
    processes; the worker has no clients and `tells_only` those of the others; commands and tests need none of it.
    """
    settings = settings or Settings.from_env(os.environ)
    if tells_only:
        manager = Fanout(settings.rabbitmq_url, write_only=True)
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
