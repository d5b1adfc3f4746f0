"""Where RabbitMQ comes from: one that is reachable, else a private node of an installed server.

Where none is installed it is, when that is allowed. A private node keeps everything in its own home, listens on
the loopback interface only, and brings its own epmd, so that it neither meets nor disturbs another RabbitMQ.
"""

import logging
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pika
import pika.exceptions

from dev.ports import LOOPBACK
from dev.terminal import Trouble, say

LOCAL_URL = f"amqp://guest:guest@{LOOPBACK}:5672/"
INSTALLED_AT = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
)
HOW_TO_GET_ONE = (
    "no RabbitMQ: none answers at RABBITMQ_URL or localhost:5672, none is installed, and there is no right to"
    " install one. Run 'sudo apt-get install rabbitmq-server', or set RABBITMQ_URL=amqp://user:password@host:5672/"
)

logging.getLogger("pika").setLevel(logging.CRITICAL)  # a refused handshake is an answer here, not an error


def refusal(url: str) -> str | None:
    """Why no AMQP connection can be had with the URL's credentials; None when one could be opened."""
    try:
        parameters = pika.URLParameters(url)
        parameters.socket_timeout = 2
        parameters.stack_timeout = 5
        parameters.blocked_connection_timeout = 5
        pika.BlockingConnection(parameters).close()
    except (pika.exceptions.ProbableAuthenticationError, pika.exceptions.AuthenticationError):
        return "refuses the user or the password"
    except (pika.exceptions.ProbableAccessDeniedError, pika.exceptions.ConnectionClosedByBroker):
        return "refuses the virtual host"
    except (pika.exceptions.AMQPError, OSError, ValueError) as error:
        return f"does not answer ({type(error).__name__})"
    return None


def without_password(url: str) -> str:
    return re.sub(r"(?<=://)([^:@/]*):[^@]*@", r"\1:***@", url)


def reachable_url() -> str | None:
    """The first of RABBITMQ_URL and localhost:5672 that lets us in."""
    wished = os.environ.get("RABBITMQ_URL")
    for url in filter(None, (wished, LOCAL_URL)):
        reason = refusal(url)
        if reason is None:
            return url
        if url == wished:
            say(f"RABBITMQ_URL {without_password(url)} {reason}; looking for another broker")
    return None


def installed_server() -> Path | None:
    """The server's own start script (Debian's wrapper in /usr/sbin insists on its own user)."""
    for pattern in INSTALLED_AT:
        for path in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
            if os.access(path, os.X_OK):
                return path
    return None


def install_server() -> Path:
    """Install RabbitMQ from the system's packages when we are root or sudo asks for no password."""
    apt = shutil.which("apt-get")
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if apt is None or (as_root and not _works([*as_root, "true"])):
        raise Trouble(HOW_TO_GET_ONE)
    say("installing rabbitmq-server from the system's packages (once; a minute or two)")
    quiet = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", apt, "-qq"]
    _works([*quiet, "update"])
    _works([*quiet, "install", "--yes", "--no-install-recommends", "rabbitmq-server"])
    server = installed_server()
    if server is None:
        raise Trouble("apt-get could not install rabbitmq-server: install it by hand, or set RABBITMQ_URL")
    return server


def find_server() -> Path:
    return installed_server() or install_server()


def _works(command: list[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class PrivateNode:
    """A RabbitMQ node of ours: its files and the commands that run it. Who runs them is not its business."""

    server: Path
    home: Path
    port: int
    distribution_port: int
    epmd_port: int
    management_port: int | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/"

    @property
    def epmd_command(self) -> list[str]:
        """The node's name server, in the foreground so that it ends when we end it."""
        return ["epmd", "-port", str(self.epmd_port), "-address", LOOPBACK]

    @property
    def server_command(self) -> list[str]:
        return [str(self.server)]

    def prepare(self) -> dict[str, str]:
        """Write the node's configuration; returns the whole environment its two processes need."""
        self.home.mkdir(parents=True, exist_ok=True)
        configuration, plugins = self.home / "rabbitmq.conf", self.home / "enabled_plugins"
        if self.management_port is None:
            configuration.write_text("")
            plugins.write_text("[].\n")
        else:
            listener = f"management.tcp.ip = {LOOPBACK}\nmanagement.tcp.port = {self.management_port}\n"
            configuration.write_text(listener)
            plugins.write_text("[rabbitmq_management].\n")
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.home),  # Erlang's cookie
            "RABBITMQ_NODENAME": "sri-care@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_CONFIG_FILE": str(configuration.with_suffix("")),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,  # the machine's settings are not ours
            # Without +sbwt none its schedulers spin on cores that the services need.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
        }

    def wait_until_reachable(self, timeout: float = 60) -> None:
        """Return when the node accepts clients; `Trouble` when it has not within the timeout (seconds)."""
        deadline = time.monotonic() + timeout
        while (reason := refusal(self.url)) is not None:
            if time.monotonic() > deadline:
                raise Trouble(f"RabbitMQ did not start: it {reason}; its log is in {self.home / 'log'}")
            time.sleep(0.1)
