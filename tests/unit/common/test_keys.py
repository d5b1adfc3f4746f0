"""Signing keys: overlap in a rotation, restraint in refetching, a stored copy for when auth is away."""

from typing import Any

import pytest
from flask import Flask

from auth.keys import KeyRing
from common.identity.keys import MAX_AGE_S, REFETCH_AFTER_S, KeySet, KeysUnavailable


class Auth:
    """A JWKS endpoint that can be away."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self.away = False
        self.asked = 0

    def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if self.away:
            raise OSError("away")
        return self.ring.jwks()


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def auth(app: Flask, tmp_path) -> Auth:
    return Auth(KeyRing(tmp_path / "ring"))


def test_during_a_rotation_both_keys_verify(auth: Auth) -> None:
    at = Clock()
    keys = KeySet(auth, at)
    old = auth.ring.signing_key().kid
    assert keys.get(old) is not None
    new = auth.ring.rotate()
    assert auth.ring.signing_key().kid == new != old
    at.at += REFETCH_AFTER_S
    assert keys.get(new) is not None
    assert keys.get(old) is not None


def test_forged_key_ids_do_not_hammer_auth(auth: Auth) -> None:
    keys = KeySet(auth, Clock())
    for number in range(50):
        assert keys.get(f"forged-{number}") is None
    assert auth.asked == 1


def test_auth_is_not_asked_per_request(auth: Auth) -> None:
    at = Clock()
    keys = KeySet(auth, at)
    kid = auth.ring.signing_key().kid
    for _ in range(100):
        at.at += 1
        assert keys.get(kid) is not None
    assert auth.asked == 1


def test_a_withdrawn_key_is_forgotten(auth: Auth, tmp_path) -> None:
    at = Clock()
    keys = KeySet(auth, at)
    old = auth.ring.signing_key().kid
    keys.get(old)
    auth.ring = KeyRing(tmp_path / "other")
    at.at += MAX_AGE_S + 1
    assert keys.get(old) is None


def test_a_restart_while_auth_is_away_verifies_with_the_stored_keys(auth: Auth) -> None:
    kid = auth.ring.signing_key().kid
    KeySet(auth, Clock()).get(kid)
    auth.away = True
    assert KeySet(auth, Clock()).get(kid) is not None


def test_without_any_key_nobody_is_refused_for_good(auth: Auth) -> None:
    auth.away = True
    at = Clock()
    keys = KeySet(auth, at)
    with pytest.raises(KeysUnavailable):
        keys.get("x")
    auth.away = False
    at.at += 1
    assert keys.get(auth.ring.signing_key().kid) is not None
