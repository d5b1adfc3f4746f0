"""Flow 8 in a real browser, through the gateway, with two chat processes of which each is killed on the way."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.customer import PASSWORD, Customer
from tests.support.platform import Platform

pytestmark = [pytest.mark.platform, pytest.mark.browser]
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


def bodies(page: Page) -> list[str]:
    return page.locator("#messages .message:not(.waiting) .body").all_inner_texts()


def stored(customer: Customer) -> list[str]:
    (conversation,) = customer.get("/api/chat/conversations").json()["items"]
    found = customer.get(f"/api/chat/conversations/{conversation['id']}/messages").json()["items"]
    assert [message["seq"] for message in found] == list(range(1, len(found) + 1))
    return [message["body"] for message in found]


def see_last(page: Page, text: str) -> None:
    expect(page.locator("#messages .message:not(.waiting) .body").last).to_contain_text(text)


def test_flow_8_with_both_chat_processes_killed_on_the_way(
    care_platform: Platform, open_page: Callable[..., Page], customer: Customer
) -> None:
    agent = care_platform.people["agent"]
    top_up = {"amount": {"amount_minor": 123_400, "currency": "LKR"}}
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031, "cvc": "123", "name": "N"}
    paid = customer.post("/api/payment/wallet/top-ups", top_up | {"method": {"type": "card", "card": card}})
    assert paid.status_code == 201, paid.text
    client, console = open_page("client"), open_page("console")
    sign_in(client, customer.phone, PASSWORD)
    expect(client.locator("#state")).not_to_be_empty()
    sign_in(console, agent.phone, agent.password)
    console.check("#available")

    say(client, "What is my balance?")
    see_last(client, "LKR 1,234.00")
    say(client, "I want to talk to a person")
    expect(client.locator("#state")).to_contain_text(agent.name)

    console.click("#mine button:has-text('Nimali Perera')")
    expect(console.locator("#card")).to_contain_text("LKR 1,234.00")
    expect(console.locator("#notes")).to_contain_text("asked for a person")
    say(console, "Good day, this is customer care")
    see_last(client, "Good day, this is customer care")

    say(client, SCRIPT)
    see_last(console, SCRIPT)
    assert (client.title(), console.title()) == ("Sri-Care help", "Sri-Care console")

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
