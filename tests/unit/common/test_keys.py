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


UNUSABLE = {
    "of a curve": {"kty": "EC", "kid": "curve", "crv": "P-256", "x": "AQ", "y": "AQ"},
    "for encryption": {"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"},
    "of another algorithm": {"kty": "RSA", "kid": "pss", "alg": "PS256", "n": "AQAB", "e": "AQAB"},
    "without a name": {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    "without its numbers": {"kty": "RSA", "kid": "empty"},
    "of numbers that are none": {"kty": "RSA", "kid": "odd", "n": "!", "e": 3},
    "no key at all": "key",
}


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_that_cannot_be_used_does_not_take_the_others_with_it(auth: Auth, unusable: Any) -> None:
    ours = auth.ring.jwks()["keys"]
    kid = auth.ring.signing_key().kid
    found = KeySet(lambda: {"keys": [unusable, *ours]}, Clock())
    assert found.get(kid) is not None
    assert found.get("curve") is found.get("enc") is found.get("pss") is found.get("empty") is None
    auth.away = True
    assert KeySet(auth, Clock()).get(kid) is not None, "it was stored"


def test_a_set_without_a_key_of_ours_is_no_answer_of_auth(auth: Auth) -> None:
    at, answers = Clock(), [auth.ring.jwks(), {"keys": []}, {"keys": [UNUSABLE["of a curve"]]}]
    keys = KeySet(lambda: answers.pop(0), at)
    kid = auth.ring.signing_key().kid
    for _ in range(3):
        assert keys.get(kid) is not None
        at.at += MAX_AGE_S + 1
    assert not answers


def test_without_any_key_nobody_is_refused_for_good(auth: Auth) -> None:
    auth.away = True
    at = Clock()
    keys = KeySet(auth, at)
    with pytest.raises(KeysUnavailable):
        keys.get("x")
    auth.away = False
    at.at += 1
    assert keys.get(auth.ring.signing_key().kid) is not None
