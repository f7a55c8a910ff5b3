"""Take the studio's pictures for README.md and docs/: python tools/screenshots.py."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import gpt1

DOCS = Path(__file__).parents[1] / "docs"
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
TEXT = "The old man looked at the sea and"


@contextmanager
def serving() -> Iterator[str]:
    """Run `gpt1 serve mini` on a free port; yield its address."""
    command = [sys.executable, "-m", "gpt1", "serve", "mini", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            yield re.search(r"http://\S+", line).group()
        finally:
            server.terminate()


def visit(browser: Any, address: str, **options: Any) -> Any:
    """Open the studio in a window of its own."""
    page = browser.new_page(device_scale_factor=1, **options)
    page.goto(address)
    page.wait_for_selector("main h1")
    return page


def write(page: Any, branch: bool = True) -> None:
    """Let the model write, and branch off once."""
    page.fill("#prompt", TEXT)
    page.click("button.primary")
    page.wait_for_selector(".token.after")
    if branch:
        page.click(".token[data-index='12']")
        page.click(".bars .row:not([aria-current]) >> nth=1")
        page.wait_for_selector(".branches")
        page.wait_for_selector(".token.after")
        page.click(".token[data-index='12']")
    page.mouse.move(1, 1)


def view(page: Any, name: str, ready: str) -> None:
    page.click(f".tab[data-view={name}]")
    page.wait_for_selector(ready)


def shoot(page: Any, name: str, selector: str = "#studio") -> None:
    """Save a picture of an element, without waiting for transitions."""
    page.evaluate("document.activeElement.blur()")
    path = DOCS / f"studio{name}.png"
    page.locator(selector).screenshot(path=path, animations="disabled")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Take every picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with serving() as address, sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = visit(browser, address, viewport=WIDE, locale="en")
        write(page)
        shoot(page, "")
        portuguese = visit(browser, address, viewport=WIDE, locale="pt-BR")
        write(portuguese)
        shoot(portuguese, "-pt")
        view(page, "walk", ".step")
        page.click("[data-step='2']")
        shoot(page, "-walk")
        view(page, "inside", ".map")
        page.select_option("[name=layer]", index=3)
        page.wait_for_selector("[aria-label='Layer 4, head 1']")
        page.click("[data-head='2']")
        shoot(page, "-attention")
        page.click("[data-value=lens]")
        page.wait_for_selector(".lens")
        shoot(page, "-lens")
        view(page, "tasks", ".figure")
        page.click("[data-value=similarity]")
        page.wait_for_selector(".figure.similarity")
        shoot(page, "-tasks")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.html"
            path.write_text(gpt1.load("mini").explain(TEXT).page, "utf-8")
            single = visit(browser, path.as_uri(), viewport=WIDE, locale="en")
            single.click(".token[data-index='5']")
            single.mouse.move(1, 1)
            shoot(single, "-page")
        phone = visit(browser, address, viewport=PHONE, locale="pt-BR", color_scheme="dark")
        write(phone)
        shoot(phone, "-phone")
        browser.close()


if __name__ == "__main__":
    main()
