"""Which providers carry what, made from the settings."""

from collections.abc import Sequence

from notification.config import Settings
from notification.gateway import Email, Provider, Push, Sms, WebhookCall
from notification.gateway.email import EmailSink, SmtpProvider
from notification.gateway.outbound import Http
from notification.gateway.push import VapidKey, WebPush
from notification.gateway.sms import HttpSms, SmsSink, TwilioSms
from notification.gateway.webhooks import WebhookSender

RECEIPTS_PATH = "/api/notifications/sms/{provider}/receipts"


def email_providers(settings: Settings) -> Sequence[Provider[Email]]:
    """One per mail server, in the order of the setting; each with a connection of its own."""
    if settings.smtp_host is None:
        return [EmailSink(settings.email_sink_dir, settings.email_from)]
    return [
        SmtpProvider(
            name="smtp" if n == 1 else f"smtp-{n}",
            sender=settings.email_from,
            host=host,
            port=settings.smtp_port if port is None else port,
            security=settings.smtp_security,
            user=settings.smtp_user,
            password=settings.smtp_password,
            ca_file=settings.smtp_ca_file,
            timeout_s=settings.smtp_timeout_s,
        )
        for n, (host, port) in enumerate(settings.smtp_servers, start=1)
    ]


def sms_providers(settings: Settings) -> Sequence[Provider[Sms]]:
    """In the order of the setting."""
    return [_sms_provider(name, settings) for name in settings.sms_order]


def _sms_provider(name: str, settings: Settings) -> Provider[Sms]:
    if name == "sink":
        return SmsSink(settings.sms_sink_dir)
    http = Http(timeout_s=settings.http_timeout_s, public_only=False)
    if name == "http":
        assert settings.sms_http_url is not None
        return HttpSms(
            http,
            url=settings.sms_http_url,
            token=settings.sms_http_token,
            sender=settings.sms_sender,
            timeout_s=settings.http_timeout_s,
        )
    assert settings.twilio_account is not None
    assert settings.twilio_token is not None
    return TwilioSms(
        http,
        url=settings.twilio_url,
        account=settings.twilio_account,
        token=settings.twilio_token,
        sender=settings.sms_sender,
        status_url=settings.public_url + RECEIPTS_PATH.format(provider="twilio"),
        timeout_s=settings.http_timeout_s,
    )


def push_provider(settings: Settings, http: Http) -> Provider[Push] | None:
    """None without the operator's key: then no browser can subscribe either."""
    if settings.vapid_private_key is None:
        return None
    return WebPush(
        http,
        key=VapidKey(settings.vapid_private_key),
        contact=settings.vapid_contact,
        timeout_s=settings.http_timeout_s,
    )


def webhook_provider(settings: Settings, http: Http) -> Provider[WebhookCall]:
    return WebhookSender(http, timeout_s=settings.http_timeout_s)


def http_for_targets(settings: Settings) -> Http:
    """For addresses that customers choose."""
    webhooks_and_push = 2 * 2 * settings.sending_hands
    return Http(
        timeout_s=settings.http_timeout_s,
        public_only=not settings.private_targets,
        connections=webhooks_and_push,
    )
