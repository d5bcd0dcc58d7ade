"""A browser, and pages that are watched while they load."""

import os
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium; .ci/run installs it where it is missing."""
    if CHROMIUM is None:
        missing = "no Chromium: install it (Debian: apt-get install chromium), or name it in CHROMIUM"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """visit(address) opens a page: (page, what its console complained of, addresses that it asked other hosts for)."""

    @contextmanager
    def opened(address: str, **options):
        context = browser.new_context(**options)
        page, complaints, foreign = context.new_page(), [], []
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        page.on("request", lambda request: _foreign(request.url) and foreign.append(request.url))
        page.goto(address)
        page.wait_for_load_state("networkidle")
        try:
            yield page, complaints, foreign
        finally:
            context.close()

    return opened


def _foreign(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:", "about:", "http://127.0.0.1", "http://localhost"))
