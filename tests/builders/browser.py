"""A real browser without a window: the chromium of the operating system, driven by playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.builders.systems import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CHROMIUM = Path("/usr/bin/chromium")
_QUIET = (
    "--no-sandbox",  # refuses to run as root with one
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)
_PATIENCE_MS = 120_000  # of every wait; a busy machine draws slowly
_SHOTS = "SENTINEL_SCREENSHOTS"


@contextmanager
def page(width: int = 1280, height: int = 800) -> Iterator[Page]:
    """An empty page. Skips the test, with a word, where there is no browser or nothing to drive it with."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(_QUIET))
        made = browser.new_page(viewport={"width": width, "height": height})
        made.set_default_timeout(_PATIENCE_MS)
        yield made
        browser.close()


def shoot(made: Page, name: str, part: Locator | None = None) -> None:
    """A screenshot, of all or of a part, into the folder that SENTINEL_SCREENSHOTS names, if it does."""
    if folder := os.environ.get(_SHOTS):
        Path(folder).mkdir(parents=True, exist_ok=True)
        made.wait_for_timeout(5000)  # animations, and the colours of assets, which come after them
        (part or made).screenshot(path=str(Path(folder, f"{name}.png")))


def seen(part: Page | Locator, text: str) -> Locator:
    """The element that shows this text. The UI also holds hidden copies, to measure how wide labels are."""
    found = part.get_by_text(text, exact=True).locator("visible=true").first
    found.wait_for()
    return found


def shows_picture(made: Page, name: str) -> Locator:
    """The dialog with the picture of that metadata entry, once it is drawn: whole within it, and large enough."""
    row = made.locator("tr", has_text=name).locator("visible=true").first
    row.get_by_text("Show Markdown").click()
    dialog = made.get_by_role("dialog").or_(made.locator(".bp5-dialog, .bp6-dialog, .bp4-dialog")).first
    image = made.locator("img[src^='data:image']").locator("visible=true").first
    image.wait_for()
    eventually(lambda: image.evaluate("i => i.complete && i.naturalWidth"), "the picture is drawn")
    drawn, around = image.bounding_box(), dialog.bounding_box()
    assert drawn is not None
    assert around is not None
    assert drawn["width"] >= 600
    assert around["x"] <= drawn["x"]
    assert drawn["x"] + drawn["width"] <= around["x"] + around["width"]
    return dialog
