"""`python render.py FILE`: the broker's definitions, which it loads at start: the topology, and a user per service.

A service's user writes to its own exchange and reads its own queues. `amq.default` is how a consumer puts a message
into its retry queues. Only chat declares anything: its processes' fan-out. Passwords come from
RABBITMQ_<SERVICE>_PASSWORD (or …_FILE), the operator's from RABBITMQ_ADMIN_PASSWORD. Runs in any service's image, since
`common` knows the topology.
"""

import base64
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import contracts
from common.messaging.definitions import VHOST, definitions
from common.settings import read

FANOUT = r"chat\.socketio.*"


def render(env: Mapping[str, str]) -> dict[str, Any]:
    """The document for `load_definitions`. Raises KeyError naming the password that is missing."""
    services = sorted({queue.split(".")[0] for queue in contracts.queues()} | set(contracts.producers()))
    return {
        **definitions(),
        "users": [
            _user("admin", _password(env, "ADMIN"), ["administrator"]),
            *(_user(service, _password(env, service.upper()), []) for service in services),
        ],
        "permissions": [
            _rights("admin", ".*", ".*", ".*"),
            *(_rights(service, *_own(service)) for service in services),
        ],
    }


def _own(service: str) -> tuple[str, str, str]:
    """What a service may configure, write and read, as regular expressions."""
    exchange = re.escape(contracts.exchange_of(service))
    fanout = [FANOUT] if service == "chat" else []
    queues = [re.escape(name) + r"(\..+)?" for name in contracts.queues() if name.startswith(f"{service}.")]
    return _any(fanout), _any([exchange, r"amq\.default", *fanout]), _any([*queues, *fanout])


def _any(patterns: list[str]) -> str:
    return f"^({'|'.join(patterns)})$"


def _rights(user: str, configure: str, write: str, read: str) -> dict[str, str]:
    return {"user": user, "vhost": VHOST, "configure": configure, "write": write, "read": read}


def _user(name: str, password: str, tags: list[str]) -> dict[str, Any]:
    salt = secrets.token_bytes(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": tags,
    }


def _password(env: Mapping[str, str], whose: str) -> str:
    name = f"RABBITMQ_{whose}_PASSWORD"
    password = read(env, name)
    if not password:
        raise KeyError(name)
    return password


def main() -> None:
    target = Path(sys.argv[1])
    target.write_text(json.dumps(render(os.environ), indent=1), encoding="utf-8")
    target.parent.chmod(0o755)  # the broker's own user reads it; nothing else is in the volume


if __name__ == "__main__":
    main()
