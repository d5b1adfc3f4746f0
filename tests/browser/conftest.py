"""A headless Chromium of the system, and a platform whose chat has two processes behind the gateway (one that runs
already may have as many as it likes)."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support import deployed
from tests.support.customer import Customer
from tests.support.deployed import Deployed
from tests.support.platform import Platform

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DESKTOP = {"width": 1280, "height": 800}
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def care_platform() -> Iterator[Platform | Deployed]:
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    if found := deployed.find():
        yield found
        return
    with Platform(seed=True, env={"CHAT_PROCESSES": "2"}) as running:
        yield running


@pytest.fixture(scope="module")
def browser(care_platform: Platform) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser, care_platform: Platform) -> Iterator[Callable[..., Page]]:
    """Opens `client` or `console` in a browser context of its own; what the page complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_one(name: str, **options: object) -> Page:
        contexts.append(browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB"} | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{care_platform.url}/api/chat/{name}/")
        return page

    yield open_one
    folder = os.environ.get("SCREENSHOTS")
    for number, context in enumerate(contexts):
        for page in context.pages:
            if folder:
                page.screenshot(path=f"{folder}/{os.getpid()}-{number}.png")
        context.close()
    assert complaints == []


@pytest.fixture
def customer(care_platform: Platform) -> Iterator[Customer]:
    with Customer(care_platform.url, name="Nimali Perera") as made:
        yield made
