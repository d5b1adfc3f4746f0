"""Passkeys with a real browser: Chromium's virtual authenticator, driven through its DevTools protocol."""

import itertools
import json
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.serving import make_server

from auth.models import Passkey
from auth.webauthn_ceremony import RelyingParty
from common.db import transaction
from tests.support.accounts import NIMALI, Person, login, register
from tests.support.eventually import eventually

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

CALL = """
async (path, body, token) => {
  const headers = {"Content-Type": "application/json"};
  if (token) headers.Authorization = "Bearer " + token;
  const answer = await fetch("/api/auth/" + path, {method: "POST", headers, body: JSON.stringify(body)});
  return {status: answer.status, body: await answer.json()};
}
"""
REGISTER = f"""
async (token) => {{
  const call = {CALL};
  const begun = (await call("passkeys/register/options", {{}}, token)).body;
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(begun.options);
  const made = await navigator.credentials.create({{publicKey}});
  return call("passkeys/register/verify",
    {{ceremony_id: begun.ceremony_id, name: "phone", credential: made.toJSON()}}, token);
}}
"""
ANSWER = f"""
async (verification) => {{
  const call = {CALL};
  const begun = (await call("passkeys/login/options", {{}})).body;
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(begun.options);
  if (verification) publicKey.userVerification = verification;
  const found = await navigator.credentials.get({{publicKey}});
  return {{ceremony_id: begun.ceremony_id, credential: found.toJSON()}};
}}
"""


class Browser:
    """A page of a headless Chromium with a virtual authenticator that always finds its user."""

    def __init__(self, port: int, url: str) -> None:
        opened = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?{url}", method="PUT")
        with urllib.request.urlopen(opened) as answer:  # noqa: S310 -- http, to our own browser
            target = json.load(answer)
        self._socket = websocket.create_connection(target["webSocketDebuggerUrl"], suppress_origin=True)
        self._ids = itertools.count(1)
        self.send("WebAuthn.enable")
        self.send(
            "WebAuthn.addVirtualAuthenticator",
            options={
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            },
        )
        eventually(lambda: self.run("async () => location.href") == url, within=10)

    def send(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def run(self, function: str, *arguments: Any) -> Any:
        """What an async function of the page comes to."""
        expression = f"({function})({', '.join(json.dumps(each) for each in arguments)})"
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    url = f"http://localhost:{server.server_port}"
    settings = app.extensions["sricare_auth"].settings.model_copy(update={"public_url": url})
    vars(app.extensions["sricare_auth"])["relying_party"] = RelyingParty(settings)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def browser(served: str, tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    profile = tmp_path / "profile"
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += [
        "--disable-dev-shm-usage",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    page = None
    try:
        told = profile / "DevToolsActivePort"
        port = eventually(lambda: told.exists() and told.read_text().split(), within=30)[0]
        page = Browser(int(port), f"{served}/api/auth/apidocs/")
        yield page
    finally:
        if page is not None:
            page.close()
        process.terminate()
        process.wait(60)


@pytest.mark.browser
def test_a_passkey_signs_in_alone(browser: Browser, client: FlaskClient) -> None:
    me = register(client)
    made = browser.run(REGISTER, me.access)
    assert made["status"] == 201, made
    listed = client.get("/api/auth/passkeys", headers=me.headers).json["items"]
    assert [(item["id"], item["name"]) for item in listed] == [(made["body"]["id"], "phone")]

    body = browser.run(ANSWER)
    signed_in = client.post("/api/auth/passkeys/login/verify", json=body)
    assert signed_in.status_code == 200, signed_in.text
    assert signed_in.json["user"]["id"] == me.id
    headers = {"Authorization": f"Bearer {signed_in.json['access_token']}"}
    assert client.get("/api/auth/me", headers=headers).json["phone"] == "+94771234567"

    replayed = client.post("/api/auth/passkeys/login/verify", json=body)
    assert (replayed.status_code, replayed.json["code"]) == (401, "invalid_passkey")

    body = browser.run(ANSWER)
    other = client.post("/api/auth/passkeys/login/options").json["ceremony_id"]
    mixed = client.post("/api/auth/passkeys/login/verify", json=body | {"ceremony_id": other})
    assert mixed.status_code == 401, "an answer to another challenge"

    unseen = client.post("/api/auth/passkeys/login/verify", json=browser.run(ANSWER, "discouraged"))
    assert unseen.status_code == 401, "nobody showed finger, face or PIN"
    assert client.post("/api/auth/passkeys/login/verify", json=browser.run(ANSWER)).status_code == 200

    with transaction() as session:
        session.execute(update(Passkey).values(sign_count=10_000))
    copied = client.post("/api/auth/passkeys/login/verify", json=browser.run(ANSWER))
    assert copied.status_code == 401, "a counter that goes back"

    assert client.delete(f"/api/auth/passkeys/{listed[0]['id']}", headers=me.headers).status_code == 204
    gone = client.post("/api/auth/passkeys/login/verify", json=browser.run(ANSWER))
    assert gone.status_code == 401


def verify(client: FlaskClient, credential: Any, me: Person | None = None) -> Any:
    kind = "register" if me else "login"
    headers = me.headers if me else {}
    begun = client.post(f"/api/auth/passkeys/{kind}/options", headers=headers).json
    body = {"ceremony_id": begun["ceremony_id"], "credential": credential}
    return client.post(f"/api/auth/passkeys/{kind}/verify", json=body, headers=headers)


@pytest.mark.parametrize(
    "credential",
    [{}, {"id": 1}, {"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": {}},
     {"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": {"clientDataJSON": "!", "attestationObject": 7}},
     {"id": "x" * 5000, "response": []},
     {"id": "AAAA", "rawId": "AAAA", "type": "public-key",
      "response": {"clientDataJSON": "e30", "attestationObject": "oA", "authenticatorData": "AA", "signature": "AA"}}],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(client: FlaskClient, credential: Any) -> None:
    me = register(client)
    for answer in (verify(client, credential), verify(client, credential, me)):
        assert (answer.status_code, answer.json["code"]) == (401, "invalid_passkey")


def test_a_challenge_belongs_to_whom_it_was_made_for(client: FlaskClient) -> None:
    me, other = register(client), register(client, phone="0772222222")
    begun = client.post("/api/auth/passkeys/register/options", headers=other.headers).json
    body = {"ceremony_id": begun["ceremony_id"], "credential": {}}
    for headers in (me.headers, other.headers, other.headers):
        assert (
            client.post("/api/auth/passkeys/register/verify", json=body, headers=headers).status_code == 401
        )
    assert login(client, phone=NIMALI["phone"]).status_code == 200


def test_sign_in_options_name_no_account(client: FlaskClient) -> None:
    register(client)
    options = client.post("/api/auth/passkeys/login/options").json["options"]
    assert not options.get("allowCredentials")
    assert options["userVerification"] == "required"
