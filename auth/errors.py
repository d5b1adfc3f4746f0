"""Refusals of auth."""

from common.errors import AppError, Conflict, Unauthorized


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


ERRORS: tuple[type[AppError], ...] = (
    PhoneAlreadyRegistered,
    EmailAlreadyRegistered,
    InvalidCredentials,
    InvalidRefreshToken,
    RefreshTokenReused,
)
