"""The world outside: providers that carry e-mail, SMS, web push and webhooks, each behind one Protocol."""

from notification.gateway.base import (
    DeliveryFailed,
    Email,
    OutcomeUnknown,
    PermanentFailure,
    Provider,
    ProviderAway,
    Push,
    Sms,
    TemporaryFailure,
    WebhookCall,
    Wording,
)

__all__ = [
    "DeliveryFailed",
    "Email",
    "OutcomeUnknown",
    "PermanentFailure",
    "Provider",
    "ProviderAway",
    "Push",
    "Sms",
    "TemporaryFailure",
    "WebhookCall",
    "Wording",
]
