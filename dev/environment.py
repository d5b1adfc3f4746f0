"""Everything the platform's processes are told on one machine: folders, ports, addresses, variables.

Whatever a variable below already holds in the environment of `make up` wins, so one service can be run on PostgreSQL
(`BILLING_DATABASE_URL=…`), on another port (`BILLING_PORT=…`) or with a real mail server without editing anything.
"""

import base64
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dev.broker import LOCAL_URL
from dev.ports import LOOPBACK, free_ports
from dev.terminal import Trouble

ROOT = Path(__file__).resolve().parent.parent
PORTS = {
    "auth": 3001,
    "billing": 3002,
    "payment": 3003,
    "provisioning": 3004,
    "notification": 3005,
    "chat": 3006,
}
SERVICES = tuple(PORTS)
GATEWAY_PORT = 8000
WEB_THREADS = {"auth": "16"}
"""More than gunicorn's usual 4 where requests wait without working: auth's, for the hash of a password."""


@dataclass(frozen=True)
class Home:
    """The folder that holds everything a running platform writes: `var/`, or SRICARE_HOME."""

    path: Path

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        return cls(Path(env.get("SRICARE_HOME") or ROOT / "var").resolve())

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def metrics(self) -> Path:
        return self.run / "metrics"

    @property
    def programs(self) -> Path:
        """The pid files of the running programs."""
        return self.run / "programs"

    @property
    def supervisor(self) -> Path:
        """The pid file of the `make up` itself."""
        return self.run / "supervisor.pid"

    @property
    def demo_logins(self) -> Path:
        return self.path / "demo-logins.json"

    @property
    def secrets(self) -> dict[str, Path]:
        """Files of the secrets that are made at the first start, by their variable."""
        return {
            "PAYMENT_VOUCHER_SECRET": self.data / "voucher-secret",
            "PAYMENT_SIMULATED_WEBHOOK_SECRET": self.data / "simulated-webhook-secret",
        }

    @property
    def vapid_key(self) -> Path:
        """The operator's web-push key: browsers subscribe with its public half, so it is made once."""
        return self.data / "vapid-key"

    def prepare(self) -> None:
        """Make the folders and the key; nobody else may look into them (keys, databases, messages of customers).

        Raises `Trouble` when they cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            for name in ("data", "run/programs", "log", "keys", "mail", "sms"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            for secret in (self.vapid_key, *self.secrets.values()):
                if not secret.exists():
                    secret.write_text(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        except OSError as error:
            raise Trouble(f"cannot write to {self.path}: {error.strerror}") from None


@dataclass(frozen=True)
class Layout:
    """Where each part of the platform is found. Made once per start."""

    home: Home
    gateway_port: int
    ports: Mapping[str, int]
    chat_ports: tuple[int, ...]
    variables: Mapping[str, str]

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Raises `Trouble` naming the variable that is no port or no count."""
        ports = {service: _number(env, f"{service.upper()}_PORT", port) for service, port in PORTS.items()}
        more_chats = _number(env, "CHAT_PROCESSES", 1) - 1
        return cls(
            home=Home.from_env(env),
            gateway_port=_number(env, "GATEWAY_PORT", GATEWAY_PORT),
            ports=ports,
            chat_ports=(ports["chat"], *(free_ports(more_chats) if more_chats > 0 else ())),
            variables=dict(env),
        )

    @property
    def public_url(self) -> str:
        return self.variables.get("PUBLIC_URL") or f"http://localhost:{self.gateway_port}"

    def service_url(self, service: str) -> str:
        """The service's own port, past the gateway."""
        return f"http://{LOOPBACK}:{self.ports[service]}"

    def upstreams(self, service: str) -> tuple[int, ...]:
        """The ports of all web processes of the service."""
        return self.chat_ports if service == "chat" else (self.ports[service],)

    def environment(self, broker_url: str | None = None) -> dict[str, str]:
        """The variables that every process of the platform gets.

        Without the broker's URL they do for commands that write to a database only, yet read all settings.
        """
        home = self.home
        defaults = {
            "JWKS_URL": f"{self.service_url('auth')}/api/auth/.well-known/jwks.json",
            "AUTH_KEYS_DIR": str(home.path / "keys"),
            "NOTIFICATION_EMAIL_SINK_DIR": str(home.path / "mail"),
            "NOTIFICATION_SMS_SINK_DIR": str(home.path / "sms"),
            "NOTIFICATION_VAPID_PRIVATE_KEY_FILE": str(home.vapid_key),
            **{f"{variable}_FILE": str(file) for variable, file in home.secrets.items()},
            "PAYMENT_SIMULATED_WEBHOOK_URL": f"{self.service_url('payment')}/api/payment/webhooks/simulated",
            "PUBLIC_URL": self.public_url,
            "LOG_LEVEL": "INFO",
            "SRICARE_ENV": "development",
            **{f"{s.upper()}_DATABASE_URL": f"sqlite:///{home.data / s}.sqlite3" for s in SERVICES},
        }
        fixed = {
            "SRICARE_HOME": str(home.path),
            "RABBITMQ_URL": broker_url or self.variables.get("RABBITMQ_URL") or LOCAL_URL,
            "PYTHONUNBUFFERED": "1",
            **{f"{service.upper()}_PORT": str(port) for service, port in self.ports.items()},
        }
        return {**defaults, **{name: value for name, value in self.variables.items() if value}, **fixed}

    def service_environment(self, service: str, broker_url: str | None = None) -> dict[str, str]:
        """The variables of one service's processes."""
        environment = self.environment(broker_url)
        if service in WEB_THREADS:
            environment.setdefault("WEB_THREADS", WEB_THREADS[service])
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(self.home.metrics / service)
        return environment


def flask_command(service: str, *arguments: str) -> list[str]:
    """A Flask command of a service, e.g. its migrations."""
    return [sys.executable, "-m", "flask", "--app", f"{service}.app", *arguments]


def current() -> Layout:
    return Layout.from_env(os.environ)


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise Trouble(f"{name}={text} is not a number from 1 to 65535")
    return int(text)
