"""People with accounts, for auth's tests: registered through the API, with the codes that only messages tell."""

import base64
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from argon2 import PasswordHasher
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from flask.testing import FlaskClient
from sqlalchemy import event, update

from auth.models import User
from common import clock
from common.db import db, statements, transaction
from tests.support.services import emitted

PASSWORD = "correct horse battery"
NIMALI = {"phone": "0771234567", "password": PASSWORD, "name": "Nimali Perera"}


@dataclass
class Person:
    """Someone signed in."""

    id: str
    phone: str
    access: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}


def person(answer: Any) -> Person:
    """From the body of an answer with tokens."""
    user = answer["user"]
    return Person(user["id"], user["phone"], answer["access_token"], answer["refresh_token"])


def register(client: FlaskClient, **changes: str) -> Person:
    answer = client.post("/api/auth/register", json=NIMALI | changes)
    assert answer.status_code == 201, answer.text
    return person(answer.json)


def login(client: FlaskClient, password: str = PASSWORD, phone: str = NIMALI["phone"], ip: str = "") -> Any:
    headers = {"X-Forwarded-For": ip} if ip else {}
    return client.post("/api/auth/login", json={"phone": phone, "password": password}, headers=headers)


def staff(client: FlaskClient, role: str, phone: str = "0772000001") -> Person:
    """A member of staff, signed in with the role."""
    made = register(client, phone=phone, name=f"An {role}")
    with transaction() as session:
        session.execute(update(User).where(User.id == made.id).values(roles=[role]))
    return person(login(client, phone=phone).json)


def told(event_type: str) -> dict[str, Any]:
    """The data of the newest event of a type, as the notification service gets it."""
    return emitted(event_type)[-1].data


def wrong(code: str) -> str:
    """Another code."""
    return f"{(int(code) + 1) % 10**6:06}"


def code_of(secret: str, later_s: int = 0) -> str:
    """What an authenticator app shows."""
    app = TOTP(base64.b32decode(secret), 6, SHA1(), 30)  # noqa: S303
    return app.generate(int(clock.now().timestamp()) + later_s).decode()


def turn_on(client: FlaskClient, me: Person) -> tuple[str, list[str]]:
    """Put an authenticator app in force; its secret and the recovery codes."""
    begun: Any = client.post("/api/auth/mfa/totp", headers=me.headers)
    secret = begun.json["secret"]
    answer: Any = client.post(
        "/api/auth/mfa/totp/confirm", json={"code": code_of(secret)}, headers=me.headers
    )
    assert answer.status_code == 200, answer.text
    return secret, answer.json["recovery_codes"]


@contextmanager
def work_done() -> Iterator[Counter[str]]:
    """What is done in the block that takes time: hashes by their parameters, and statements by verb and table. Equal
    work shows that time tells nothing, on a busy machine too."""
    done: Counter[str] = Counter()

    def given_to_sqlalchemy(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        note(text)

    def given_to_the_driver(on: Any, written: Any, *rest: Any, **more: Any) -> Any:
        note(written.text)
        return execute(on, written, *rest, **more)

    def note(text: str) -> None:
        verb, table = text.split()[0], re.search(r'\b(?:FROM|INTO|UPDATE) "?(\w+)', text)
        done[f"{verb} {table[1] if table else ''}"] += 1

    def hashed(self: PasswordHasher, password: str, **kwargs: Any) -> str:
        done["hash"] += 1
        return made(self, password, **kwargs)

    def verified(self: PasswordHasher, stored: str, password: str) -> bool:
        done[f"verify {stored.rsplit('$', 2)[0]}"] += 1
        return checked(self, stored, password)

    made, checked, execute = PasswordHasher.hash, PasswordHasher.verify, statements._execute
    event.listen(db.engine, "before_cursor_execute", given_to_sqlalchemy)
    with (
        patch.object(PasswordHasher, "hash", hashed),
        patch.object(PasswordHasher, "verify", verified),
        patch.object(statements, "_execute", given_to_the_driver),
    ):
        yield done
    event.remove(db.engine, "before_cursor_execute", given_to_sqlalchemy)
