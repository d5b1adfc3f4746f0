"""Refusals of notification: it has none of its own yet."""

from common.errors import AppError

ERRORS: tuple[type[AppError], ...] = ()
