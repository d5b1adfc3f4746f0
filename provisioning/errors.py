"""Refusals of provisioning."""

from collections.abc import Mapping

from common.errors import AppError, Conflict, Forbidden, ValidationFailed


class AlreadyActive(Conflict):
    code, title = "already_active", "This service is active already"


class KycRequired(Forbidden):
    code, title = "kyc_required", "This offering needs an approved identity check (KYC)"


class AccountClosed(Forbidden):
    code, title = "account_closed", "The account is closed"


class AccountBarred(Forbidden):
    code, title = "account_barred", "The account is barred: what is overdue must be paid first"


class ExcludedByService(Conflict):
    code, title = "excluded_by_service", "This offering does not go together with one that is active"


class RequiresService(Conflict):
    code, title = "requires_service", "This offering needs another one to be active"


class ServiceNotRenewable(Conflict):
    code, title = "service_not_renewable", "This service does not renew"


class ItemNotAvailable(Conflict):
    code, title = "item_not_available", "The item cannot be had in its state"


class OutOfStock(Conflict):
    code, title = "out_of_stock", "There is nothing left of what this offering needs"


class CodeTaken(Conflict):
    code, title = "code_taken", "Another ring tone has this code"


class WishlistFull(Conflict):
    code, title = "wishlist_full", "The wishlist is full"


class OfferingCodeTaken(Conflict):
    code, title = "offering_code_taken", "Another offering has this code"


class OfferingNotEditable(Conflict):
    code, title = "offering_not_editable", "The offering cannot be changed like this in its state"


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
    AccountBarred,
    AccountClosed,
    AlreadyActive,
    CodeTaken,
    ExcludedByService,
    ItemNotAvailable,
    KycRequired,
    OfferingCodeTaken,
    OfferingNotEditable,
    OrderNotCancellable,
    OrderNotRetryable,
    OutOfStock,
    RequiresService,
    ServiceNotLive,
    ServiceNotRenewable,
    WishlistFull,
)
