"""Settings of auth."""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from common.settings import Settings as CommonSettings
from common.settings import shared

LOOSE_PER_MINUTE = 1000
"""What one address may do in development, where all come from the same one."""


class Settings(CommonSettings):
    """Read by `Settings.from_env(os.environ)` in `create_app` and the worker."""

    SERVICE: ClassVar[str] = "auth"

    jwks_url: str = shared("JWKS_URL", default="", description="not used by auth, which has the keys")
    web_threads: int = shared("WEB_THREADS", default=4, ge=1, description="threads of a web process")

    keys_dir: Path | None = Field(
        default=None, description="folder of the signing keys and the secret; made at first start when empty"
    )
    signing_key: str | None = Field(
        default=None, description="RSA private key (PEM) that signs, instead of the folder's newest"
    )
    retired_keys: str = Field(
        default="", description="RSA public keys (PEM, one after another) that verify besides `signing_key`"
    )
    secret: str | None = Field(
        default=None,
        min_length=32,
        description="what codes and sealed data are keyed with, instead of the folder's",
    )
    key_lead_s: int = Field(
        default=600, ge=0, description="how long a new key is published before it signs, seconds"
    )

    access_token_s: int = Field(default=900, ge=60, le=900, description="life of an access token, seconds")
    refresh_token_s: int = Field(default=30 * 86400, ge=3600, description="life of a refresh token, seconds")
    refresh_grace_s: int = Field(
        default=10, ge=0, le=60, description="a lost answer may be fetched again so long"
    )
    proof_s: int = Field(
        default=600,
        ge=60,
        description="so long after it a sign-in is fresh enough to change how one signs in",
    )

    hash_time_cost: int = Field(default=2, ge=1, description="Argon2id passes")
    hash_memory_kib: int = Field(default=19456, ge=8192, description="Argon2id memory, KiB")
    hash_slots: int = Field(
        default=1, ge=1, description="passwords hashed at once in a process: cores / WEB_WORKERS"
    )
    hash_wait_s: float = Field(default=5.0, gt=0, description="wait for a hash, then 503")

    login_free_attempts: int = Field(default=5, ge=1, description="wrong passwords before the first delay")
    login_first_delay_s: int = Field(
        default=30, ge=1, description="first delay, doubled by each attempt after it"
    )
    login_longest_delay_s: int = Field(default=900, ge=1, description="longest delay")
    login_forget_s: int = Field(
        default=86400, ge=60, description="attempts are forgotten after this long a rest"
    )
    ip_per_minute: int = Field(
        default=60, ge=1, description="sign-ins, codes and resets of one address a minute"
    )
    ip_free_failures: int = Field(
        default=100, ge=1, description="failed sign-ins of one address before it waits"
    )
    ip_forget_s: int = Field(
        default=900, ge=60, description="an address's failures are forgotten after this rest"
    )
    trusted_proxies: str = Field(
        default="127.0.0.0/8,::1/128", description="networks whose X-Forwarded-For is believed; empty: none"
    )
    trusted_hops: int = Field(
        default=1, ge=1, le=10, description="proxies in a row that add to X-Forwarded-For"
    )

    code_life_s: int = Field(default=600, ge=60, le=3600, description="life of a one-time code")
    code_tries: int = Field(default=5, ge=1, le=10, description="wrong guesses that a code survives, and one")
    code_every_s: int = Field(default=60, ge=1, description="pause between codes to one number")
    codes_per_day: int = Field(default=10, ge=1, description="codes to one number or address in a day")

    kyc_dir: Path | None = Field(
        default=None, description="folder of KYC documents; default: `kyc` beside the keys' folder"
    )
    audit_dir: Path | None = Field(
        default=None, description="folder of audit archives; default: `audit` beside the keys' folder"
    )
    audit_months: int = Field(
        default=84, ge=1, description="whole months of the audit trail kept in the database"
    )
    agent_reads: int = Field(
        default=100,
        ge=1,
        description="customers that staff may be shown in ten minutes before somebody looks",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for part in filter(None, value.split(",")):
            ip_network(part.strip())
        return value

    @model_validator(mode="after")
    def _keys_from_somewhere(self) -> Self:
        if self.keys_dir is None and (self.signing_key is None or self.secret is None):
            raise ValueError("set AUTH_KEYS_DIR, or both AUTH_SIGNING_KEY and AUTH_SECRET")
        if self.keys_dir is None and (self.kyc_dir is None or self.audit_dir is None):
            raise ValueError("without AUTH_KEYS_DIR set AUTH_KYC_DIR and AUTH_AUDIT_DIR")
        return self

    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(part.strip()) for part in self.trusted_proxies.split(",") if part.strip())

    def folder(self, name: str) -> Path:
        """Where a kind of files lies: `kyc` or `audit`."""
        configured: Path | None = getattr(self, f"{name}_dir")
        if configured is not None:
            return configured
        assert self.keys_dir is not None
        return self.keys_dir.parent / name

    def per_ip(self, name: str) -> int:
        """A limit of one address; development loosens it unless it was set."""
        value: int = getattr(self, name)
        if self.environment == "development" and name not in self.model_fields_set:
            return max(value, LOOSE_PER_MINUTE)
        return value

    @property
    def code_life(self) -> timedelta:
        return timedelta(seconds=self.code_life_s)

    @property
    def relying_party(self) -> str:
        """The host that passkeys belong to."""
        return urlsplit(self.public_url).hostname or "localhost"

    @property
    def origin(self) -> str:
        """The origin of the pages that use passkeys."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}"
