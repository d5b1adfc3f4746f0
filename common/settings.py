"""Settings: read once at start from an environment mapping, frozen, failing with the variable's name.

A field belongs to the variable `<SERVICE>_<FIELD>`, unless it is shared by the platform and declares
its variable's full name. `NAME_FILE` may name a file that holds the value (secrets in containers).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator


class SettingsError(Exception):
    """A variable is missing or wrong; the message names it. Processes print it and exit 1."""


def shared(variable: str, **kwargs: Any) -> Any:
    """A field whose variable is the same for all services."""
    return Field(json_schema_extra={"variable": variable}, **kwargs)


class Settings(BaseModel):
    """What every service needs. Services subclass it, set SERVICE and add their own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    SERVICE: ClassVar[str] = ""

    database_url: str = Field(description="SQLAlchemy URL of this service's own database")
    port: int = Field(default=0, ge=0, le=65535, description="port that this service listens on")
    pool_size: int = Field(default=8, ge=1, description="database connections kept per process")
    pool_overflow: int = Field(default=8, ge=0, description="connections above the pool under load")
    pool_timeout_s: float = Field(default=5.0, gt=0, description="wait for a free connection, then 503")
    lock_timeout_s: float = Field(default=5.0, gt=0, description="wait for a database lock, then 503")
    worker_metrics_port: int = Field(
        default=0, ge=0, le=65535, description="port of a worker's or relay's own /metrics; 0: none"
    )

    environment: str = shared("SRICARE_ENV", default="production", description="development or production")
    rabbitmq_url: str = shared("RABBITMQ_URL", description="AMQP URL of the broker")
    redis_url: str | None = shared(
        "REDIS_URL", default=None, description="shared counters and caches; optional"
    )
    jwks_url: str = shared("JWKS_URL", description="where auth publishes its signing keys")
    public_url: str = shared(
        "PUBLIC_URL", default="http://localhost:8000", description="the gateway, as clients see it"
    )
    log_level: str = shared("LOG_LEVEL", default="INFO", description="DEBUG, INFO, WARNING or ERROR")
    otlp_endpoint: str | None = shared(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        default=None,
        description="OpenTelemetry collector; tracing is off without it",
    )
    topology: str = shared(
        "RABBITMQ_TOPOLOGY",
        default="declare",
        pattern="^(declare|expect)$",
        description="declare exchanges and queues at start, or expect them (broker definitions, least rights)",
    )

    worker_relays: bool = shared(
        "WORKER_RELAYS", default=True, description="workers relay too; false where relays run by themselves"
    )

    @field_validator("database_url")
    @classmethod
    def _psycopg(cls, url: str) -> str:
        for prefix in ("postgres://", "postgresql://"):
            if url.startswith(prefix):
                return "postgresql+psycopg://" + url.removeprefix(prefix)
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must be a sqlite:/// or postgresql:// URL")
        if url.partition("?")[0] in ("sqlite:///", "sqlite:///:memory:"):
            raise ValueError("must name a file: in memory each connection has a database of its own")
        return url

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Field name → environment variable, in declaration order."""
        names = {}
        for name, field in cls.model_fields.items():
            extra = field.json_schema_extra
            variable = extra.get("variable") if isinstance(extra, dict) else None
            names[name] = str(variable or f"{cls.SERVICE}_{name}".upper())
        return names

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read every field from `env`. Raises SettingsError naming each variable at fault."""
        names = cls.variables()
        values = {}
        for name, variable in names.items():
            value = read(env, variable)
            if value is not None and value != "":
                values[name] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("; ".join(_explain(cls, names, item) for item in error.errors())) from None


def read(env: Mapping[str, str], variable: str) -> str | None:
    """A variable, or what the file holds that `NAME_FILE` names. Raises SettingsError when that cannot be read."""
    path = env.get(f"{variable}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{variable}_FILE: cannot read {path}: {error.strerror}") from None
    return env.get(variable)


def _explain(cls: type[Settings], names: dict[str, str], item: Any) -> str:
    name = str(item["loc"][0]) if item["loc"] else "?"
    variable = names.get(name, name)
    if item["type"] == "missing":
        return f"{variable} is not set ({cls.model_fields[name].description})"
    return f"{variable}: {item['msg']}"
