"""Every page in a real browser, in both themes and widths; keys, themes, live updates."""

from __future__ import annotations

import time

from selenium.webdriver.common.keys import Keys

import belaypin
import belaypin.web
from tests.web.browser import NARROW, WIDE, Browser
from tests.web.conftest import scratch, serving
from tests.web.test_pages import ITEMS, NAVIGATED, PROFILE, SHOP, USER

PAGES = (
    *NAVIGATED,
    ITEMS,
    USER,
    SHOP,
    f"{PROFILE}#state",
    f"{USER}&stream=posts&item=1&numeric=true",
    "/failure?id=2",
    "/do/replay?error=TimeoutError",
    "/nowhere",
)
THEMES = ("light", "dark")

NAMELESS = """
const named = (one) => (one.getAttribute('aria-label') || one.textContent || one.title || one.alt
    || (one.labels && one.labels.length) || one.type === 'hidden');
return [...document.querySelectorAll('a, button, input, select, svg[role=img], nav, section, img, figure')]
  .filter((one) => !named(one) && !one.hasAttribute('aria-labelledby') && one.getAttribute('alt') !== '')
  .map((one) => one.outerHTML.slice(0, 120));
"""

FAINT = """
const light = ([r, g, b]) => [r, g, b]
  .map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const known = new Map();
const parse = (text) => {
  if (!known.has(text)) {
    context.clearRect(0, 0, 1, 1); context.fillStyle = text; context.fillRect(0, 0, 1, 1);
    known.set(text, [...context.getImageData(0, 0, 1, 1).data]);
  }
  return known.get(text);
};
const ground = (one) => {
  for (; one; one = one.parentElement) {
    const found = parse(getComputedStyle(one).backgroundColor);
    if (found[3] > 250) return found;
  }
  return [255, 255, 255];
};
const seen = new Map();
for (const one of document.querySelectorAll('body *')) {
  const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !one.checkVisibility() || one.closest('.sr, .skip, svg')) continue;
  const ink = getComputedStyle(one).color, back = ground(one);
  const [a, b] = [light(parse(ink)), light(back)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) seen.set(`${ink} on ${back.slice(0, 3)}: ${ratio.toFixed(2)}`, one.outerHTML.slice(0, 90));
}
return [...seen];
"""


SOUND = f"""
return [(() => {{ {NAMELESS} }})(), (() => {{ {FAINT} }})(), document.querySelectorAll('h1').length];
"""
WIDER = "return document.documentElement.scrollWidth - innerWidth"


def test_every_page_is_sound(dashboard: str, browser: Browser) -> None:
    """No error, no broken policy, nothing sticks out, everything has a name and can be read.

    A page is loaded once, in either theme and width in turn, and then seen in the others: loading
    takes most of the time.
    """
    for number, path in enumerate(PAGES):
        themes, sizes = (THEMES, (NARROW, WIDE)) if number % 2 else (THEMES[::-1], (WIDE, NARROW))
        browser.look(theme=themes[0], size=sizes[0])
        browser.open(dashboard + path)
        for theme, size in ((themes[0], sizes[0]), (themes[0], sizes[1]), (themes[1], sizes[1])):
            browser.look(theme=theme, size=size)
            where = (path, theme, size)
            if size is WIDE or theme == themes[1]:
                assert browser.run(SOUND) == [[], [], 1], where
            assert browser.run(WIDER) <= 0, where
        complaints = browser.complaints()
        if path == "/nowhere":
            complaints = [line for line in complaints if "404" not in line]
        assert complaints == [], path


def test_the_theme_is_the_systems_or_the_visitors(dashboard: str, browser: Browser) -> None:
    def ground() -> str:
        return str(browser.run("return getComputedStyle(document.body).backgroundColor"))

    grounds = {}
    for theme in THEMES:
        browser.look(theme=theme)
        browser.open(dashboard)
        grounds[theme] = ground()
    assert grounds["light"] != grounds["dark"]
    browser.look(theme="light")
    for chosen, seen in (("dark", "dark"), ("light", "light"), ("auto", "light")):
        browser.open(f"{dashboard}/leases?q=state:live")
        browser.one("form.theme button").click()
        browser.until(f"document.documentElement.dataset.theme === '{chosen}'")
        assert ground() == grounds[seen]
        assert browser.driver.current_url.endswith("/leases?q=state:live")


def test_the_keyboard_is_enough_to_search(dashboard: str, browser: Browser) -> None:
    browser.look()
    browser.open(f"{dashboard}/leases")
    browser.one("body").send_keys("/")
    browser.until("document.activeElement.id === 'search'")
    browser.driver.switch_to.active_element.send_keys("state:working", Keys.ENTER)
    browser.until("location.pathname === '/items'")
    assert "q=state%3Aworking" in browser.driver.current_url
    assert "orders / shop:0" in browser.text()
    box = browser.one("#search")
    assert box.get_attribute("value") == "state:working"
    box.send_keys("/")
    assert box.get_attribute("value") == "state:working/"


def test_charts_are_drawn_and_have_their_tables(dashboard: str, browser: Browser) -> None:
    browser.look()
    for path in ("/", "/storage?since=7d", "/efficiency", "/failures"):
        browser.open(dashboard + path)
        browser.until("document.querySelector('figure .plot canvas')")
        assert browser.run("return document.querySelectorAll('figure').length") == len(
            browser.all("figure details table")
        )


def test_the_menu_opens_on_a_narrow_screen(dashboard: str, browser: Browser) -> None:
    browser.look(size=NARROW)
    browser.open(dashboard)
    link = browser.one("nav.side a[href='/storage']")
    assert not link.is_displayed()
    browser.one("nav.side summary").click()
    assert link.is_displayed()
    link.click()
    browser.until("location.pathname === '/storage'")


def test_a_gap_is_filled_by_the_command_that_is_copied(dashboard: str, browser: Browser) -> None:
    browser.look()
    browser.open(f"{dashboard}/coverage?pipeline=stackexchange&q=gaps>0")
    row = browser.one("table.gaps tbody tr")
    command = row.find_element("css selector", "code").text
    assert command.startswith("belaypin backfill stackexchange/user:19/badges --since 20")
    row.find_element("css selector", "button.copy").click()
    browser.until(
        "/^(Copied|Selected)$/.test(document.querySelector('table.gaps .copy').textContent)"
    )


def test_pages_look_again_while_they_are_in_sight(browser: Browser) -> None:
    browser.look()
    with scratch() as folder:
        url = f"sqlite:///{folder}/live.db"
        belaypin.open(url).close()
        with serving(belaypin.web.app(url, refresh_s=0.3)) as address:
            browser.open(f"{address}/items")
            browser.until("document.getElementById('live').dataset.state === 'on'")
            assert "Nothing is stored yet" in browser.text()
            _save(url, "user:1")
            browser.until("document.body.textContent.includes('user:1')")
            # Out of sight nothing is asked for.
            browser.run(
                "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
                "document.dispatchEvent(new Event('visibilitychange'))"
            )
            browser.until("document.querySelector('#live .word').textContent === 'resting'")
            time.sleep(0.5)  # what was under way has arrived
            browser.run("performance.clearResourceTimings()")
            _save(url, "user:2")
            time.sleep(1.2)
            assert browser.run("return performance.getEntriesByType('resource').length") == 0
            browser.run(
                "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))"
            )
            browser.until("document.body.textContent.includes('user:2')")
            # Paused by hand, it stays so on the next page.
            browser.one("#live").click()
            browser.open(f"{address}/leases")
            browser.until("document.querySelector('#live .word').textContent === 'paused'")
            browser.one("#live").click()
            browser.until("document.querySelector('#live .word').textContent === 'live'")
            assert browser.complaints() == []


def test_a_look_does_not_disturb_the_reader(browser: Browser) -> None:
    browser.look()
    with scratch() as folder:
        url = f"sqlite:///{folder}/calm.db"
        with belaypin.open(url) as store:
            store.save(("shop", "user:1"), {"pages": 3})
        with serving(belaypin.web.app(url, refresh_s=0.2)) as address:
            browser.open(f"{address}/items")
            # At once: between finding it and typing, the page may look again.
            browser.run("document.querySelector('form.filter input[name=q]').focus()")
            browser.driver.switch_to.active_element.send_keys("user")
            time.sleep(0.8)
            assert browser.driver.switch_to.active_element.get_attribute("value") == "user"


def _save(url: str, entity: str) -> None:
    with belaypin.open(url) as store:
        store.save(("shop", entity), {"pages": 3})
