"""WebAuthn's cryptography through py_webauthn: options for a browser, and whether its answer is right.

Passkeys are discoverable and the authenticator must have verified its user (finger, face, PIN): so a passkey is two
factors in one and signs in alone, and a sign-in names no account before it has succeeded.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from auth.config import Settings
from auth.errors import InvalidPasskey
from auth.models import Passkey, User

NAME = "Sri-Care"


@dataclass(frozen=True)
class NewCredential:
    """A credential that was just made and verified."""

    credential_id: str
    public_key: bytes
    sign_count: int
    backed_up: bool


class RelyingParty:
    """This platform, as authenticators know it."""

    def __init__(self, settings: Settings) -> None:
        self._id = settings.relying_party
        self._origin = settings.origin

    def registration_options(self, user: User, known: list[str], challenge: bytes) -> dict[str, Any]:
        """What the browser gives to `navigator.credentials.create`."""
        options = generate_registration_options(
            rp_id=self._id,
            rp_name=NAME,
            user_id=user.id.encode(),
            user_name=user.phone,
            user_display_name=user.name,
            challenge=challenge,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(id=base64url_to_bytes(each)) for each in known
            ],
        )
        return _document(options_to_json(options))

    def registered(self, credential: dict[str, Any], challenge: bytes) -> NewCredential:
        """Raises InvalidPasskey."""
        try:
            verified = verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._id,
                expected_origin=self._origin,
                require_user_verification=True,
            )
        except _BAD as error:
            raise InvalidPasskey() from error
        return NewCredential(
            bytes_to_base64url(verified.credential_id),
            verified.credential_public_key,
            verified.sign_count,
            verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE
            and verified.credential_backed_up,
        )

    def sign_in_options(self, challenge: bytes) -> dict[str, Any]:
        """What the browser gives to `navigator.credentials.get`: any passkey that it has for this platform."""
        options = generate_authentication_options(
            rp_id=self._id, challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
        )
        return _document(options_to_json(options))

    def signed_in(self, credential: dict[str, Any], challenge: bytes, passkey: Passkey) -> int:
        """The authenticator's new counter. Raises InvalidPasskey."""
        try:
            verified = verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._id,
                expected_origin=self._origin,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except _BAD as error:
            raise InvalidPasskey() from error
        return verified.new_sign_count


# py_webauthn parses what a client sends with few checks of its own: wrong types surface as these.
_BAD = (WebAuthnException, ValueError, TypeError, KeyError, AttributeError, IndexError)


def _document(text: str) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(text)
    return document
