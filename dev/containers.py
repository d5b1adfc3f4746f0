"""The platform in containers (docker-compose.yaml), as far as commands on the host have to know of it."""

import shutil
import subprocess

from dev.environment import ROOT

OPERATE = "docker compose exec -T {service}-web flask --app {service}.app"
"""How an operator's command of a service is run there."""


def are_running() -> bool:
    """Whether the platform runs in containers of this machine."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(
        ["docker", "compose", "ps", "--quiet", "--status", "running", "auth-web"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    return asked.returncode == 0 and bool(asked.stdout.strip())
