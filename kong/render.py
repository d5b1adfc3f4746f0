"""`python kong/render.py FILE`: kong.yaml with everything that the environment decides, as the file that Kong imports.

`${NAME:-default}` becomes the variable (or what NAME_FILE holds); the signing keys that auth publishes at JWKS_URL
become the credentials of the `jwt` plugin, one each, named by their `kid`. Needs PyYAML and PyJWT, which each
service image has. The outcome has no anchors, so `kong config db_import` and decK both read it.
"""

import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SOURCE = Path(__file__).with_name("kong.yaml")
PLACEHOLDER = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")
CONSUMER = "sri-care"
WAIT_S = 60.0


def render(source: str, env: Mapping[str, str], jwks: Mapping[str, Any]) -> dict[str, Any]:
    """The document with placeholders filled in and one credential per signing key."""
    document: dict[str, Any] = _filled(yaml.safe_load(source), env)
    document.pop("_ignore")
    document["consumers"] = [
        {"username": CONSUMER, "jwt_secrets": [_credential(key) for key in jwks["keys"]]},
    ]
    return document


def variables(source: str) -> dict[str, str]:
    """The variables that the file leaves open, with their defaults."""
    return dict(PLACEHOLDER.findall(source))


def _filled(node: Any, env: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: _filled(value, env) for name, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, env) for value in node]
    if isinstance(node, str) and PLACEHOLDER.search(node):
        text = PLACEHOLDER.sub(lambda found: _read(env, found[1]) or found[2], node)
        if text.startswith("["):
            return [item.strip() for item in text.strip("[]").split(",") if item.strip()]
        # A password that looks like a number stays text; limits and switches are what YAML says.
        return text or None if "PASSWORD" in node else yaml.safe_load(text)
    return node


def _read(env: Mapping[str, str], name: str) -> str | None:
    file = env.get(f"{name}_FILE")
    return Path(file).read_text(encoding="utf-8").strip() if file else env.get(name)


def _credential(key: Mapping[str, Any]) -> dict[str, str]:
    public = jwt.PyJWK(dict(key)).key
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"key": key["kid"], "algorithm": "RS256", "rsa_public_key": pem}


def _fetch(url: str) -> dict[str, Any]:
    """The published keys; waits a minute for auth to come up."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (the operator's own URL)
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def main() -> None:
    document = render(SOURCE.read_text(encoding="utf-8"), os.environ, _fetch(os.environ["JWKS_URL"]))
    target = Path(sys.argv[1])
    target.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    target.parent.chmod(0o755)  # Kong's own user reads it; nothing else is in the volume


if __name__ == "__main__":
    main()
