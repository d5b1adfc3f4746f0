"""The pages in a real browser, through the gateway, with two chat processes."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.customer import CARD, PASSWORD, Admin, Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform

pytestmark = [pytest.mark.platform, pytest.mark.browser]
PHONE = {"width": 390, "height": 844}
PROCESSES = ("chat-web", "chat-web-2")
SCRIPT = "<script>document.title='gone'</script><img src=x onerror=\"document.title='gone'\">"


def sign_in(page: Page, phone: str, password: str) -> None:
    page.fill("#identifier", phone)
    page.fill("#password", password)
    page.click("#sign-in button")
    expect(page.locator("#sign-out")).to_be_visible()


def say(page: Page, text: str) -> None:
    page.fill("#body", text)
    page.press("#body", "Enter")


def enter(page: Page, customer: Customer) -> None:
    """Sign in on the customer's page, and be in a conversation."""
    sign_in(page, customer.phone, PASSWORD)
    expect(page.locator("#state")).not_to_be_empty()


def top_up(customer: Customer, minor: int) -> None:
    wish = {"amount": {"amount_minor": minor, "currency": "LKR"}, "method": {"type": "card", "card": CARD}}
    paid = customer.post("/api/payment/wallet/top-ups", wish)
    assert paid.status_code == 201, paid.text


@pytest.fixture
def desk(care_platform: Platform) -> Iterator[Admin]:
    """The agent's own way to the API."""
    agent = care_platform.people["agent"]
    with Admin(care_platform.url, agent.phone, agent.password) as signed_in:
        yield signed_in


def card(desk: Admin, customer: Customer) -> dict[str, Any]:
    """What chat knows of the customer by now."""
    return dict(desk.get(f"/api/chat/agent/customers/{customer.id}").json())


def bodies(page: Page) -> list[str]:
    return page.locator("#messages .message:not(.waiting) .body").all_inner_texts()


def stored(customer: Customer) -> list[str]:
    (conversation,) = customer.get("/api/chat/conversations").json()["items"]
    found = customer.get(f"/api/chat/conversations/{conversation['id']}/messages").json()["items"]
    assert [message["seq"] for message in found] == list(range(1, len(found) + 1))
    return [message["body"] for message in found]


def see_last(page: Page, text: str) -> None:
    expect(page.locator("#messages .message:not(.waiting) .body").last).to_contain_text(text)


def file_ticket(console: Page) -> str:
    """The agent opens a ticket and comments on it twice; its path."""
    console.fill("#ticket-subject", "Bill too high")
    with console.expect_response(lambda answer: answer.url.endswith("/tickets")) as opened:
        console.click("#ticket > button")
    console.click("#tickets li:has-text('Bill too high') summary")
    for body, internal in (("Meter was read twice", True), ("We look into it", False)):
        console.fill("#tickets textarea", body)
        console.set_checked("#tickets input[type=checkbox]", internal)
        console.click("#tickets form button")
        expect(console.locator("#tickets details li").last).to_contain_text(body)
    console.fill("#tickets textarea", "half a sentence")
    for language in ("si", "en"):
        console.select_option("header select", language)
        expect(console.locator("#tickets details li")).to_have_count(2)
        expect(console.locator("#tickets textarea")).to_have_value("half a sentence")
    return f"/api/chat/tickets/{opened.value.json()['id']}"


def test_flow_8_with_both_chat_processes_killed_on_the_way(
    care_platform: Platform, open_page: Callable[..., Page], customer: Customer, desk: Admin
) -> None:
    agent = care_platform.people["agent"]
    top_up(customer, 123_400)
    eventually(lambda: card(desk, customer)["balance"] == {"amount_minor": 123_400, "currency": "LKR"})
    client, console = open_page("client"), open_page("console")
    enter(client, customer)
    sign_in(console, agent.phone, agent.password)
    console.check("#available")

    say(client, "What is my balance?")
    see_last(client, "LKR 1,234.00")
    say(client, "I want to talk to a person")
    expect(client.locator("#state")).to_contain_text(agent.name)

    console.click("#mine button:has-text('Nimali Perera')")
    expect(console.locator("#card")).to_contain_text("LKR 1,234.00")
    expect(console.locator("#notes")).to_contain_text("asked for a person")
    console.click("#team-view summary")
    expect(console.locator("#agents")).to_contain_text(f"{agent.name} 1/4")
    say(console, "Good day, this is customer care")
    see_last(client, "Good day, this is customer care")

    say(client, SCRIPT)
    see_last(console, SCRIPT)
    assert (client.title(), console.title()) == ("Sri-Care help", "Sri-Care console")

    with Customer(care_platform.url, name="Kamal Fernando") as another:
        conversation = another.post("/api/chat/conversations", {}).json()["id"]
        wish = {"client_message_id": "1", "body": "agent please"}
        another.post(f"/api/chat/conversations/{conversation}/messages", wish)
        console.fill("#body", "only for Nimali")
        console.click("#mine button:has-text('Kamal Fernando')")
        expect(console.locator("#who")).to_contain_text("Kamal Fernando")
        expect(console.locator("#body")).to_have_value("")
        console.click("#mine button:has-text('Nimali Perera')")
        expect(console.locator("#body")).to_have_value("only for Nimali")
        another.post(f"/api/chat/conversations/{conversation}/close")

    ticket = file_ticket(console)
    assert [one["body"] for one in customer.get(ticket).json()["comments"]] == ["We look into it"]

    client.goto("about:blank")  # away: what is said meanwhile must be there after the reload
    say(console, "while you were away")
    see_last(console, "while you were away")
    client.goto(f"{care_platform.url}/api/chat/client/")
    see_last(client, "while you were away")

    for number, process in enumerate(PROCESSES):
        care_platform.kill(process)
        say(client, f"client {number}")
        say(console, f"console {number}")
        for page in (client, console):
            for text in (f"client {number}", f"console {number}"):
                expect(
                    page.locator(f"#messages .message:not(.waiting) .body:text-is('{text}')")
                ).to_have_count(1)
        care_platform.wait_ready()

    everything = stored(customer)
    assert bodies(client) == bodies(console) == everything
    assert len(everything) == len(set(everything))


WIRE = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(url, ...more) {
    super(sessionStorage.cut ? url.replace("socket.io", "nothing") : url, ...more);
    window.sockets.push(this);
  }
};
"""


class Wire:
    """The wire between a page and chat's sockets, to be cut and mended; REST still works."""

    def __init__(self, page: Page) -> None:
        self._page, self._cut = page, False
        page.add_init_script(WIRE)
        page.route(
            re.compile("transport=polling"),
            lambda route: route.abort() if self._cut else route.continue_(),
        )
        page.reload()

    def cut(self) -> None:
        self._cut = True
        self._page.evaluate("sessionStorage.cut = '1'; sockets.forEach((socket) => socket.close())")

    def mend(self) -> None:
        self._cut = False
        self._page.evaluate("delete sessionStorage.cut")


def test_what_is_written_offline_in_two_tabs_survives_a_reload_and_is_sent_once_in_its_order(
    care_platform: Platform, open_page: Callable[..., Page], customer: Customer
) -> None:
    client = open_page("client", viewport=PHONE)
    other = client.context.new_page()
    other.goto(client.url)
    wires = [Wire(client), Wire(other)]
    for page in (client, other):
        enter(page, customer)
    say(client, "before")
    expect(client.locator("#messages .message.mine:not(.waiting)")).to_have_count(1)
    for wire in wires:
        wire.cut()
    for page in (client, other):
        expect(page.locator("#offline")).to_be_visible()
    kept = ["kept one", "kept two", "kept three"]
    for page, text in zip((client, other, client), kept, strict=True):
        say(page, text)
    for page in (client, other):
        expect(page.locator("#messages .waiting .body")).to_have_text(kept)
    client.reload()
    expect(client.locator("#messages .waiting .body")).to_have_text(kept)
    client.close()
    wires[1].mend()
    expect(other.locator("#offline")).to_be_hidden()
    expect(other.locator("#messages .waiting")).to_have_count(0)
    assert [body for body in stored(customer) if body in ("before", *kept)] == ["before", *kept]


def test_what_is_written_before_the_conversation_has_loaded_is_sent_when_it_has(
    open_page: Callable[..., Page], customer: Customer
) -> None:
    client = open_page("client", viewport=PHONE)
    held: list[Route] = []
    client.route(re.compile(r"/api/chat/conversations\?"), lambda route: held.append(route), times=1)
    sign_in(client, customer.phone, PASSWORD)
    say(client, "too early?")
    expect(client.locator("#messages .waiting .body")).to_have_text(["too early?"])
    for route in held:
        route.continue_()
    expect(client.locator("#messages .message.mine:not(.waiting) .body")).to_have_text(["too early?"])
    assert stored(customer)[0] == "too early?"


def test_the_bot_offers_and_the_customer_orders_and_pays_in_the_chat(
    open_page: Callable[..., Page], customer: Customer, desk: Admin
) -> None:
    top_up(customer, 1_000_000)
    client = open_page("client", viewport=PHONE, color_scheme="dark")
    enter(client, customer)
    say(client, "I want to buy a data pack")
    client.locator(".offer .choice").first.click()
    assert customer.get("/api/provisioning/orders").json()["items"] == [], "not before it is confirmed"
    client.locator(".offer button.main").click()
    expect(client.locator(".offer [role=status]")).to_contain_text("ORD-")
    client.locator(".offer button.main").click()
    assert customer.get("/api/payment/payments").json()["items"][0]["reference"]["type"] == "top_up"
    client.locator(".offer button.main").click()
    expect(client.locator(".offer [role=status]")).to_contain_text("paid")
    eventually(
        lambda: (
            [order["state"] for order in customer.get("/api/provisioning/orders").json()["items"]]
            == ["completed"]
        ),
        within=60,
    )
    eventually(lambda: card(desk, customer)["services"])
    say(client, "how much data do I have left?")
    see_last(client, "MB left")
