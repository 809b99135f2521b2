"""The site in a real browser: phone and desktop, light and dark; pictures, contrast, names and keyboard.

Chromium of the system is used, through Playwright; axe-core judges. `LIBBUCKET_PICTURES` names the folder for pictures.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

PAGES = [
    "index",
    "start",
    "concepts",
    "operating",
    "writing-a-provisioner",
    "reference/api",
    "reference/parameters",
    "reference/reasons",
    "stores/aws-s3",
]
SIZES = {"phone": (390, 844), "desktop": (1440, 900)}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
SECONDS = 20_000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program is not None, "install chromium: on Debian and Ubuntu, the package of that name"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pictures() -> Path:
    folder = Path(os.environ.get("LIBBUCKET_PICTURES") or "pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def opened(browser: Browser, url: str, size: str, scheme: Any) -> Page:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(SECONDS)
    page = context.new_page()
    page.goto(url, wait_until="load")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_screen_and_axe_finds_nothing(
    name: str, size: str, scheme: str, browser: Browser, address: str, pictures: Path
) -> None:
    page = opened(browser, f"{address}/{name}.html", size, scheme)
    try:
        page.screenshot(path=pictures / f"{name.replace('/', '-')}-{size}-{scheme}.png")
        found = Axe().run(page, options=RULES).response["violations"]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    finally:
        page.context.close()
    told = [
        {
            "rule": each["id"],
            "at": [node["target"] for node in each["nodes"]][:3],
            "why": each["nodes"][0]["failureSummary"],
        }
        for each in found
    ]
    assert told == [], json.dumps(told, indent=1)
    assert wide <= 0, f"the page is {wide} pixels wider than the screen"


def test_the_keyboard_reaches_content_navigation_and_search(browser: Browser, address: str) -> None:
    page = opened(browser, f"{address}/index.html", "desktop", "light")
    reached = []
    try:
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate(
                    "(e => [e.tagName, e.getAttribute('href') || e.name || e.className,"
                    " getComputedStyle(e).outlineStyle])(document.activeElement)"
                )
            )
    finally:
        page.context.close()
    names = [str(name) for _, name, _ in reached]

    assert names[0] == "#furo-main-content", "the first stop skips the navigation"
    assert "q" in names, "the search field"
    assert "start.html" in names
    assert "writing-a-provisioner.html" in names
    assert [name for tag, name, outline in reached if tag in {"A", "BUTTON"} and outline == "none"] == []


def test_the_search_finds_a_reason(browser: Browser, address: str) -> None:
    page = opened(browser, f"{address}/search.html?q=BucketLost", "desktop", "light")
    try:
        page.wait_for_selector("#search-results ul.search li a")
        found = page.locator("#search-results ul.search li a").all_inner_texts()
    finally:
        page.context.close()

    assert any("Operating" in text or "Reasons" in text for text in found), found
