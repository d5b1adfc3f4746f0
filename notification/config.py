"""Settings of notification."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from common.settings import Settings as CommonSettings
from notification.gateway import sender_domain


class Settings(CommonSettings):
    """Read by `Settings.from_env(os.environ)` in `create_app` and the worker."""

    SERVICE: ClassVar[str] = "notification"

    email_from: str = Field(
        default="Sri-Care <no-reply@sri-care.example>", description="sender of all e-mail: Name <address>"
    )
    email_sink_dir: Path | None = Field(
        default=None, description="folder that gets one .eml per message when there is no SMTP host"
    )
    smtp_host: str | None = Field(default=None, description="mail server; e-mail goes to the sink without it")
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
    sms_sink_dir: Path | None = Field(default=None, description="folder that gets one .json per SMS")

    @field_validator("email_from")
    @classmethod
    def _has_an_address(cls, value: str) -> str:
        sender_domain(value)
        return value
