"""Debian's Chromium, driven as a person drives it; what it complains about is collected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

__all__ = ["WIDE", "Browser", "browsing"]

WIDE = (1280, 860)
NARROW = (390, 844)
PATIENCE_S = 30

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
)


@contextmanager
def browsing(folder: str, profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, gone at the end."""
    options = Options()
    options.binary_location = f"{folder}/chromium"
    for option in (*_OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(f"{folder}/chromedriver"))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """A window of the browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self._theme = ""
        self._size = (0, 0)

    def look(self, *, theme: str = "light", size: tuple[int, int] = WIDE) -> None:
        """What the visitor's system prefers, and how large their window is; it need not load again."""
        if theme != self._theme:
            feature = {"name": "prefers-color-scheme", "value": theme}
            self._cdp("Emulation.setEmulatedMedia", features=[feature])
            self._theme = theme
        if size != self._size:
            self._resize(*size)

    def open(self, url: str) -> None:
        """Go to an address; return once the page is there."""
        self.driver.get(url)

    def one(self, selector: str) -> WebElement:
        """The first element that fits."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Each element that fits."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, text: str) -> None:
        """Click the link or the button that says this; a page that looks again may replace it."""
        condition = f"normalize-space() = '{text}'"
        path = f"//a[{condition}] | //button[{condition}]"
        wait = WebDriverWait(
            self.driver, PATIENCE_S, 0.1, ignored_exceptions=[StaleElementReferenceException]
        )

        def clicked(driver: webdriver.Chrome) -> bool:
            driver.find_element(By.XPATH, path).click()
            return True

        wait.until(clicked, f"nothing to click says {text!r}")

    def text(self, selector: str = "main") -> str:
        """What can be read there."""
        return self.one(selector).text

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns, run as the browser's own tools do: past the page's policy."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str) -> Any:
        """Wait until a script returns something that holds."""
        wait = WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.1)
        return wait.until(
            lambda _driver: self.run(f"return {script}"), f"never came true: {script}"
        )

    def complaints(self) -> list[str]:
        """What the browser has complained of since the last call: errors, broken policy."""
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A PNG of what can be seen, or of the whole page."""
        if whole:
            height = self.run("return document.documentElement.scrollHeight")
            self._resize(self.run("return innerWidth"), height)
        self.driver.save_screenshot(str(path))

    def _resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        self._cdp("Emulation.setDeviceMetricsOverride", **metrics, mobile=width < 500)
        self._size = (width, height)

    def _cdp(self, command: str, **arguments: Any) -> None:
        self.driver.execute_cdp_cmd(command, arguments)
