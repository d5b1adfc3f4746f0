"""Settings of notification."""

from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from common.settings import Settings as CommonSettings
from notification.gateway.mime import sender_domain
from notification.gateway.push import VapidKey
from notification.gateway.webhooks import sign
from notification.models import Channel
from notification.use_cases.storms import Rules


class Settings(CommonSettings):
    """Read by `Settings.from_env(os.environ)` in `create_app` and the worker."""

    SERVICE: ClassVar[str] = "notification"

    email_from: str = Field(
        default="Sri-Care <no-reply@sri-care.example>", description="sender of all e-mail: Name <address>"
    )
    email_sink_dir: Path | None = Field(
        default=None, description="folder that gets one .eml per message when there is no SMTP host"
    )
    smtp_host: str | None = Field(
        default=None,
        description="mail servers in order of priority, host or host:port, with commas; without one e-mail goes to"
        " the sink",
    )
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="starttls, tls (from the first byte) or none (a relay on this machine)",
    )
    smtp_user: str | None = Field(default=None, description="account at the mail server, if it asks for one")
    smtp_password: str | None = Field(default=None, repr=False)
    smtp_ca_file: Path | None = Field(
        default=None, description="certificates to trust instead of the system's"
    )
    smtp_timeout_s: float = Field(default=10.0, gt=0, le=15, description="longest wait for each SMTP reply")

    sms_providers: str = Field(
        default="sink", description="sink, http, twilio in order of priority, with commas"
    )
    sms_sender: str = Field(default="SriCare", max_length=20, description="number or name that SMS come from")
    sms_sink_dir: Path | None = Field(default=None, description="folder that gets one .json per SMS")
    sms_http_url: str | None = Field(default=None, description="where the HTTP gateway takes messages")
    sms_http_token: str | None = Field(default=None, repr=False, description="bearer token of the gateway")
    sms_http_secret: str | None = Field(
        default=None, repr=False, description="base64 key with which the gateway signs receipts and replies"
    )
    twilio_url: str = Field(default="https://api.twilio.com")
    twilio_account: str | None = Field(default=None, description="account SID")
    twilio_token: str | None = Field(default=None, repr=False, description="auth token")

    vapid_private_key: str | None = Field(
        default=None, repr=False, description="32 bytes in base64url; web push is off without it"
    )
    vapid_contact: str = Field(
        default="mailto:no-reply@sri-care.example", pattern="^(mailto:|https://)",
        description="whom push services may turn to",
    )  # fmt: skip
    private_targets: bool = Field(
        default=False,
        description="let customers' webhooks and push endpoints lead to private addresses, and over http",
    )
    http_timeout_s: float = Field(
        default=5.0, gt=0, le=15, description="longest wait for each step of a call"
    )
    sending_hands: int = Field(default=4, ge=1, le=32, description="messages of a channel sent at once")

    email_per_hour: int = Field(
        default=20, ge=1, description="e-mails that a customer gets one by one; more come as a digest"
    )
    sms_per_hour: int = Field(default=10, ge=1, description="the same for SMS")
    push_per_hour: int = Field(default=30, ge=1, description="the same for web push, by browser")
    sms_if_unread_min: int | None = Field(
        default=None, ge=1, le=1440,
        description="minutes that an SMS waits for a push to be read, which saves it; none: it does not wait",
    )  # fmt: skip

    @field_validator("email_from")
    @classmethod
    def _has_an_address(cls, value: str) -> str:
        sender_domain(value)
        return value

    @field_validator("smtp_host")
    @classmethod
    def _is_servers(cls, value: str | None) -> str | None:
        _servers(value or "")
        return value

    @field_validator("vapid_private_key")
    @classmethod
    def _is_a_key(cls, value: str | None) -> str | None:
        if value is not None:
            VapidKey(value)
        return value

    @field_validator("sms_http_secret")
    @classmethod
    def _can_sign(cls, value: str | None) -> str | None:
        if value is not None:
            sign(value, "", 0, b"")
        return value

    @model_validator(mode="after")
    def _has_what_its_providers_need(self) -> Self:
        needs = {
            "sink": (),
            "http": ("sms_http_url",),
            "twilio": ("twilio_account", "twilio_token"),
        }
        for name in self.sms_order:
            if name not in needs:
                raise ValueError(f"NOTIFICATION_SMS_PROVIDERS: {name} is none of {', '.join(needs)}")
            for field in needs[name]:
                if getattr(self, field) is None:
                    raise ValueError(f"NOTIFICATION_{field.upper()} is not set, and {name} needs it")
        return self

    @property
    def rules(self) -> Rules:
        unread = self.sms_if_unread_min
        return Rules(
            per_hour={
                Channel.EMAIL: self.email_per_hour,
                Channel.SMS: self.sms_per_hour,
                Channel.PUSH: self.push_per_hour,
            },
            sms_if_unread_after=timedelta(minutes=unread) if unread is not None else None,
        )

    @property
    def sms_order(self) -> list[str]:
        return [name.strip() for name in self.sms_providers.split(",")]

    @property
    def smtp_servers(self) -> list[tuple[str, int | None]]:
        return _servers(self.smtp_host or "")


def _servers(text: str) -> list[tuple[str, int | None]]:
    """Hosts with the ports that are named. Raises ValueError."""
    found: list[tuple[str, int | None]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        host, colon, port = part.partition(":")
        if not host or (colon and not port.isdigit()):
            raise ValueError("must be like mail.example.lk or mail.example.lk:2525")
        found.append((host, int(port) if colon else None))
    return found
