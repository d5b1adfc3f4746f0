"""The demo operator: a catalogue, plans, an admin, an agent and two customers with an invoice each.

Made once through the operators' commands and the gateway.

Safe to repeat: what is there already stays. Passwords are made at the first start and kept beside the databases.
"""

import json
import secrets
import shlex
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dev.client import Api, Refused, eventually
from dev.environment import ROOT, SERVICES, Home, Layout, current, flask_command
from dev.terminal import Trouble, run, say

ACCOUNT_WITHIN = 60.0  # seconds from a customer's registration to the billing account
DUE_IN = timedelta(days=14)


@dataclass(frozen=True)
class Person:
    """A demo login."""

    role: str
    name: str
    phone: str
    password: str


@dataclass(frozen=True)
class Bill:
    """What a demo customer owes."""

    description: str
    amount_minor: int


STAFF = {"admin": ("Amara Perera", "+94771000001"), "agent": ("Bimal Silva", "+94771000002")}
CUSTOMERS = {
    "customer": ("Chamari Fernando", "+94771000003", Bill("Fibre 100 monthly rental", 349_000)),
    "customer 2": ("Dinesh Kumar", "+94771000004", Bill("Voice plan monthly rental", 99_000)),
}
STOCK = {
    "msisdns": [f"+9477100{number}" for number in range(1000, 1020)],
    "sims": [f"89940120000000{number}" for number in range(10000, 10020)],
}
"""Second numbers to sell, and a card for each."""


def main() -> None:
    plant(current())


def plant(layout: Layout) -> None:
    """Make what is missing of the demo operator. Raises `Trouble` when the platform refuses it."""
    layout.home.prepare()
    people = read_people(layout.home) or _make_logins(layout)
    _operate(layout, "provisioning", "seed-catalogue")
    _operate(layout, "billing", "seed-plans")
    try:
        admin = Api(layout.public_url)
        for role in STAFF:
            _ensure_staff(layout, people[role])
        admin.login(people["admin"].phone, people["admin"].password)
        for role, (_, _, bill) in CUSTOMERS.items():
            customer, user_id = _ensure_customer(layout, people[role])
            _ensure_invoice(admin, customer, user_id, bill)
        _ensure_stock(admin)
    except Refused as refusal:
        raise Trouble(f"the demo operator: {refusal}") from None


def read_people(home: Home) -> dict[str, Person]:
    """The demo logins by role; empty before the first start."""
    try:
        text = home.demo_logins.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return {role: Person(**fields) for role, fields in json.loads(text).items()}


def table(layout: Layout) -> str:
    """Where everything is and who may log in, for the end of `make up`."""
    rows = [
        ("gateway", layout.public_url),
        *((service, f"{layout.service_url(service)}{_docs(service)}") for service in SERVICES),
        ("customer chat", f"{layout.public_url}/api/chat/client/"),
        ("agent console", f"{layout.public_url}/api/chat/console/"),
    ]
    people = read_people(layout.home).values()
    rows += [("", "")] if people else []
    rows += [(person.role, f"{person.phone}  {person.password}  ({person.name})") for person in people]
    lines = [f"  {left:<14} {right}".rstrip() for left, right in rows]
    return "\n".join(["", *lines, "", "`make demo` plays a customer's story; Ctrl-C or `make down` stops."])


def _docs(service: str) -> str:
    prefix = "notifications" if service == "notification" else service
    return f"/api/{prefix}/apidocs/"


def _make_logins(layout: Layout) -> dict[str, Person]:
    names = {**STAFF, **{role: (name, phone) for role, (name, phone, _) in CUSTOMERS.items()}}
    people = {
        role: Person(role, name, phone, secrets.token_urlsafe(12)) for role, (name, phone) in names.items()
    }
    file = layout.home.demo_logins
    file.touch(mode=0o600)
    file.write_text(
        json.dumps({role: asdict(person) for role, person in people.items()}, indent=2), encoding="utf-8"
    )
    return people


def _ensure_staff(layout: Layout, person: Person) -> None:
    """Staff cannot register themselves: the operator's command makes them."""
    if _logged_in(layout, person) is not None:
        return
    options = ("--role", person.role, "--phone", person.phone, "--name", person.name)
    _operate(layout, "auth", "create-user", *options, answers=f"{person.password}\n")
    say(f"  made the {person.role} {person.name}")


def _operate(layout: Layout, service: str, *command: str, answers: str = "") -> None:
    """Run a command of the operator. Raises `Trouble` with the last thing it said when it fails.

    SRICARE_OPERATE says how where the services run in containers:
    `docker compose exec -T {service}-web flask --app {service}.app`.
    """
    elsewhere = layout.variables.get("SRICARE_OPERATE", "").format(service=service)
    done = subprocess.run(
        [*shlex.split(elsewhere), *command] if elsewhere else flask_command(service, *command),
        cwd=ROOT,
        env=layout.service_environment(service),
        input=answers,
        capture_output=True,
        text=True,
        start_new_session=True,  # without a terminal of its own it reads a password from stdin
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Trouble(f"{service} {command[0]} failed: {said[-1] if said else 'no reason given'}")


def _ensure_customer(layout: Layout, person: Person) -> tuple[Api, str]:
    """The customer's own client and user id."""
    customer = _logged_in(layout, person)
    if customer is None:
        customer = Api(layout.public_url)
        body = {"phone": person.phone, "password": person.password, "name": person.name}
        try:
            customer.token = customer.post("/api/auth/register", body)["access_token"]
        except Refused as refusal:
            if refusal.code != "phone_already_registered":
                raise
            raise Trouble(
                f"{person.phone} is registered, but not with the password in {layout.home.demo_logins}:"
                f" remove {layout.home.path} to start anew"
            ) from None
        say(f"  made the customer {person.name}")
    return customer, customer.get("/api/auth/me")["id"]


def _ensure_invoice(admin: Api, customer: Api, user_id: str, bill: Bill) -> None:
    if customer.get("/api/billing/invoices")["items"]:
        return
    issue_invoice(admin, user_id, bill)
    say(f"  issued an invoice: {bill.description}")


def issue_invoice(admin: Api, user_id: str, bill: Bill) -> dict[str, Any]:
    """Issue an invoice as the admin, waiting for the account to be made of a registration just before."""
    line = {
        "description": bill.description,
        "quantity": 1,
        "unit_price": {"amount_minor": bill.amount_minor, "currency": "LKR"},
    }
    due_on = (datetime.now(UTC) + DUE_IN).date().isoformat()
    body = {"user_id": user_id, "lines": [line], "due_on": due_on}
    return eventually(
        "the customer has a billing account",
        lambda: admin.post("/api/billing/admin/invoices", body),
        ACCOUNT_WITHIN,
    )


def _ensure_stock(admin: Api) -> None:
    for pool, values in STOCK.items():
        path = f"/api/provisioning/admin/inventory/{pool}"
        if not admin.get(path, limit="1")["items"]:
            admin.post(f"{path}/import", {"csv": "\n".join(values)})


def _logged_in(layout: Layout, person: Person) -> Api | None:
    """A client with the person's token; None when the platform does not know them by this password."""
    api = Api(layout.public_url)
    try:
        api.login(person.phone, person.password)
    except Refused as refusal:
        if refusal.status != 401:
            raise
        return None
    return api


if __name__ == "__main__":
    run(main)
