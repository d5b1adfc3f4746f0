"""Refusals of notification."""

from common.errors import AppError, Conflict, ServiceUnavailable, TooManyRequests, ValidationFailed


class CategoryMandatory(ValidationFailed):
    code, title = "category_mandatory", "Security and statutory notices cannot be switched off"


class TargetNotAllowed(ValidationFailed):
    code, title = "target_not_allowed", "This address cannot be called from here"


class TooManyWebhooks(Conflict):
    code, title = "too_many_webhooks", "No more webhooks can be added"


class TooManyDevices(Conflict):
    code, title = "too_many_devices", "No more devices can be added"


class PushNotConfigured(Conflict):
    code, title = "push_not_configured", "Web push is not set up here"


class TextNotUsable(ValidationFailed):
    code, title = "text_not_usable", "This text cannot be sent to anybody"


class TooManyStreams(TooManyRequests):
    code, title = "too_many_streams", "Too many event streams are open"


class StreamsUnavailable(ServiceUnavailable):
    code, title = "streams_unavailable", "This server cannot hold event streams"


class BroadcastEnded(Conflict):
    code, title = "broadcast_ended", "This broadcast has reached everybody already"


class DeliveryNotRetryable(Conflict):
    code, title = "delivery_not_retryable", "This message cannot be sent again"


ERRORS: tuple[type[AppError], ...] = (
    CategoryMandatory,
    TargetNotAllowed,
    TooManyWebhooks,
    TooManyDevices,
    PushNotConfigured,
    TextNotUsable,
    TooManyStreams,
    StreamsUnavailable,
    DeliveryNotRetryable,
    BroadcastEnded,
)
