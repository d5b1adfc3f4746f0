"""Refusals of provisioning."""

from collections.abc import Mapping

from common.errors import AppError, Conflict, Forbidden, ValidationFailed


class AlreadyActive(Conflict):
    code, title = "already_active", "This service is active already"


class KycRequired(Forbidden):
    code, title = "kyc_required", "This offering needs an approved identity check (KYC)"


class OrderNotCancellable(Conflict):
    code, title = "order_not_cancellable", "The order cannot be cancelled any more"


class OrderNotRetryable(Conflict):
    code, title = "order_not_retryable", "Nothing of this order waits to be tried again"


class ServiceNotLive(Conflict):
    code, title = "service_not_live", "The service is not active, or is being switched off"


class InvalidCharacteristics(ValidationFailed):
    """`faults` is what is wrong by characteristic."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        errors = [
            {"field": f"characteristics.{name}", "message": fault} for name, fault in sorted(faults.items())
        ]
        super().__init__("; ".join(f"{e['field']}: {e['message']}" for e in errors[:3]), errors=errors)


ERRORS: tuple[type[AppError], ...] = (
    AlreadyActive,
    KycRequired,
    OrderNotCancellable,
    OrderNotRetryable,
    ServiceNotLive,
)
