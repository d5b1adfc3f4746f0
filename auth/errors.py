"""Refusals of auth."""

from common.errors import (
    AppError,
    Conflict,
    Forbidden,
    TooManyRequests,
    Unauthorized,
    ValidationFailed,
)


class PhoneAlreadyRegistered(Conflict):
    code, title = "phone_already_registered", "An account with this phone number exists"


class EmailAlreadyRegistered(Conflict):
    code, title = "email_already_registered", "An account with this email address exists"


class InvalidCredentials(Unauthorized):
    code, title = "invalid_credentials", "Phone, email or password is not right"


class InvalidRefreshToken(Unauthorized):
    code, title = "invalid_refresh_token", "The refresh token is not valid"


class RefreshTokenReused(Unauthorized):
    code, title = "refresh_token_reused", "The refresh token was used before; its session has been ended"


class TooManyAttempts(TooManyRequests):
    code, title = "too_many_attempts", "Too many attempts, try again later"


class WeakPassword(ValidationFailed):
    code, title = "weak_password", "This password is too easy to guess"


class InvalidCode(ValidationFailed):
    code, title = "invalid_code", "The code is wrong, used or too old"


class NothingToVerify(Conflict):
    code, title = "nothing_to_verify", "There is nothing to verify, or it is verified already"


class InvalidMfaToken(Unauthorized):
    code, title = "invalid_mfa_token", "The sign-in took too long or had too many tries; start again"


class InvalidMfaCode(Unauthorized):
    code, title = "invalid_mfa_code", "The code is wrong, used or too old"


class MfaAlreadyOn(Conflict):
    code, title = "mfa_already_on", "An authenticator app is in use already"


class MfaNotOn(Conflict):
    code, title = "mfa_not_on", "There is no authenticator app to confirm or remove"


class InvalidPasskey(Unauthorized):
    code, title = "invalid_passkey", "The passkey's answer cannot be accepted"


class PasskeyAlreadyRegistered(Conflict):
    code, title = "passkey_already_registered", "This passkey is registered already"


class TooMany(Conflict):
    code, title = "too_many", "There are as many of these as one account may have"


class LineTaken(Conflict):
    code, title = "line_taken", "This number belongs to an account already"


class KycPending(Conflict):
    code, title = "kyc_pending", "A submission is waiting for review, or has been approved"


class UnacceptableDocument(ValidationFailed):
    code, title = "unacceptable_document", "A document is not a readable JPEG, PNG or PDF"


class OwnAccount(Conflict):
    code, title = "own_account", "Administrators cannot take away their own rights"


class NotWhileActing(Forbidden):
    code, title = "not_while_acting", "Only the customers themselves can do this"


class FreshProofRequired(Forbidden):
    code, title = "fresh_proof_required", "Show again who you are: POST /reauthenticate"


ERRORS: tuple[type[AppError], ...] = (
    PhoneAlreadyRegistered,
    EmailAlreadyRegistered,
    InvalidCredentials,
    InvalidRefreshToken,
    RefreshTokenReused,
    TooManyAttempts,
    WeakPassword,
    InvalidCode,
    NothingToVerify,
    InvalidMfaToken,
    InvalidMfaCode,
    MfaAlreadyOn,
    MfaNotOn,
    InvalidPasskey,
    PasskeyAlreadyRegistered,
    TooMany,
    LineTaken,
    KycPending,
    UnacceptableDocument,
    OwnAccount,
    NotWhileActing,
    FreshProofRequired,
)
