"""Signing keys: known to verifiers before they sign, gone when no token needs them, from a secret file if wanted."""

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from flask.testing import FlaskClient

from auth.config import Settings
from auth.keys import KeyRing
from common.settings import SettingsError
from tests.support.accounts import login, register

BASE = {"AUTH_DATABASE_URL": "sqlite:///x", "RABBITMQ_URL": "amqp://x"}


def kids(ring: KeyRing) -> list[str]:
    return [key["kid"] for key in ring.jwks()["keys"]]


def age(folder: Path, kid: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder / f"{kid}.pem", (then, then))


def test_a_new_key_is_published_before_it_signs(tmp_path: Path) -> None:
    old = KeyRing(tmp_path, lead_s=600).signing_key().kid
    age(tmp_path, old, 86400)
    ring = KeyRing(tmp_path, lead_s=600)
    new = ring.rotate()
    assert kids(ring) == [new, old]
    assert ring.signing_key().kid == old
    age(tmp_path, new, 601)
    assert KeyRing(tmp_path, lead_s=600).signing_key().kid == new


def test_a_key_that_replaces_a_stolen_one_signs_at_once_and_goes_on_doing_so(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path, lead_s=600)
    old = ring.signing_key().kid
    new = ring.rotate(at_once=True)
    assert ring.signing_key().kid == new
    assert ring.withdraw(old)
    assert kids(ring) == [new]
    assert not ring.withdraw(old)
    with pytest.raises(ValueError, match="only key"):
        ring.withdraw(new)


def test_a_key_is_kept_while_a_token_of_it_may_live(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path, lead_s=600)
    old = ring.signing_key().kid
    new = ring.rotate()
    age(tmp_path, old, 86400)
    age(tmp_path, new, 600 + 900)
    assert ring.prune(900) == []
    age(tmp_path, new, 600 + 900 + 61)
    assert ring.prune(900) == [old]
    assert kids(ring) == [new]
    assert ring.prune(900) == []


def test_the_private_key_may_come_from_a_secret_file(
    client: FlaskClient, another: Callable[..., Flask]
) -> None:
    register(client)
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    retired = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = retired.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    app = another(signing_key=pem.decode(), retired_keys=public.decode())
    answer = login(app.test_client())
    jwks = app.test_client().get("/api/auth/.well-known/jwks.json").json["keys"]
    assert len(jwks) == 2
    header = jwt.get_unverified_header(answer.json["access_token"])
    assert header["kid"] == jwks[0]["kid"]
    jwt.decode(answer.json["access_token"], private.public_key(), algorithms=["RS256"], audience="sri-care")
    with app.app_context():
        assert "AUTH_SIGNING_KEY" in app.test_cli_runner().invoke(args=["rotate-keys"]).output


def test_the_commands_rotate_withdraw_and_prune(app: Flask, tmp_path: Path) -> None:
    run = app.test_cli_runner().invoke
    new = run(args=["rotate-keys", "--at-once"]).output.strip()
    assert (tmp_path / "keys" / f"{new}.pem").exists()
    assert run(args=["prune-keys"]).exit_code == 0
    assert run(args=["withdraw-key", "nonsense"]).exit_code == 1
    assert "there is no key -nonsense" in run(args=["withdraw-key", "-nonsense"]).output
    assert run(args=["withdraw-key", new]).exit_code == 0
    assert not (tmp_path / "keys" / f"{new}.pem").exists()


def test_a_token_names_the_key_that_signed_it_though_another_takes_its_place(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look at the folder that finds a new key may come between any two questions for the key that signs."""
    ring = app.extensions["sricare_auth"].keys
    ring.rotate()
    both = itertools.cycle(ring._current())
    monkeypatch.setattr(ring, "signing_key", lambda: next(both))
    register(client)
    tokens = [login(client).json["access_token"] for _ in range(2)]
    public = {key.kid: key.private.public_key() for key in ring._current()}
    assert {jwt.get_unverified_header(token)["kid"] for token in tokens} == set(public)
    for token in tokens:
        kid = jwt.get_unverified_header(token)["kid"]
        jwt.decode(token, public[kid], algorithms=["RS256"], audience="sri-care")


@pytest.mark.parametrize(
    "env",
    [{}, {"AUTH_SIGNING_KEY": "x"}, {"AUTH_SIGNING_KEY": "x", "AUTH_SECRET": "y" * 32},
     {"AUTH_KEYS_DIR": "keys", "AUTH_SECRET": "short"}, {"AUTH_KEYS_DIR": "keys", "AUTH_TRUSTED_PROXIES": "caddy"}],
)  # fmt: skip
def test_settings_that_cannot_work_fail_at_start(env: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        Settings.from_env(BASE | env)
