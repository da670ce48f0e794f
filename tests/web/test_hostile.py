"""Whatever stands in a store is text: no id, state or error runs, hides, or leaves its place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

import belaypin
import belaypin.web
from belaypin.web.words import visible
from tests.web.browser import Browser
from tests.web.conftest import scratch, serving

Item = dict[str, Any]

# Of our own, after the kinds that the public lists of naughty strings have.
NAUGHTY = (
    # scripts and markup, in elements, attributes, styles, comments, and broken
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<svg onload=window.hacked=1><animate onbegin=window.hacked=1 attributeName=x dur=1s>",
    '" onmouseover="window.hacked=1" autofocus onfocus="window.hacked=1',
    "' onfocus='window.hacked=1' autofocus '",
    "--><script>window.hacked=1</script><!--",
    "</title></textarea></style></noscript><script>window.hacked=1</script>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
    "<a href=javascript:window.hacked=1>click</a>",
    "javascript:window.hacked=1//",
    "data:text/html,<script>window.hacked=1</script>",
    "<math><mi//xlink:href='data:x,<script>window.hacked=1</script>'>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<div hx-get='/do/gc' hx-trigger='load' hx-on:load='window.hacked=1'>",
    "<form action=//evil.example><button>give</button>",
    "&lt;script&gt;window.hacked=1&lt;/script&gt;",
    "\\u003cscript\\u003ewindow.hacked=1\\u003c/script\\u003e",
    "%3Cscript%3Ewindow.hacked=1%3C/script%3E",
    # templates, SQL, shells, formats, paths, spreadsheets
    "{{ 7 * 7 }}{% for x in () %}${7*7}#{7*7}<%= 7*7 %>",
    "'; DROP TABLE belaypin_key; --",
    "1' OR '1'='1",
    "$(touch hacked) `touch hacked` ; touch hacked | touch hacked",
    "%s%n%x {0} {x.__class__}",
    "../../../../etc/passwd",
    "C:\\con\\aux.txt",
    "=cmd|' /C calc'!A0",
    "a/b//c/../d?e=f&g=h#i;j",
    # text that turns, hides or piles up
    "user\u202e7\u202c",
    "\u2066isolate\u2069 \u200fright",
    "zero\u200bwidth\u200djoiner\ufeff",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349\u035a\u032f",
    "\u001b[2J\u001b[31mred\u0007",
    "line\nbreak\r\ttab\x0b\x0c\x85\u2028\u2029",
    "soft\u00adhyphen \u00a0 space",
    # scripts of the world, emoji, case and width
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u7530\u4e2d\u3055\u3093 \ud55c\uad6d\uc5b4 \u0939\u093f\u0928\u094d\u0926\u0940",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f3f4\U000e0067\U000e007f",
    "\u0130\u0131 \u00df \ufb01 \uff21\uff22 \u212b",
    # what reads as something else
    "null",
    "undefined",
    "NaN",
    "true",
    "0",
    "-0",
    "1e400",
    "None",
    "\\",
    '"',
    "'",
    "`",
    " ",
    ".",
    "..",
    "state:failed",
    "-lag>1h",
    'error~"x"',
    "*",
    "[object Object]",
    "__proto__",
    "constructor",
    "Ω≈ç√∫˜µ≤≥÷",
    "a" * 500,
)


def plant(store: belaypin.Store, texts: tuple[str, ...]) -> None:
    """Each text as a pipeline, an entity, a stream, an item, a state, an error, a reason and a name."""
    retry = belaypin.Retry(max_attempts=1)
    for n, text in enumerate(texts):
        with (
            contextlib.suppress(RuntimeError),
            store.lease(f"p{n % 3}", text, retry=retry) as lease,
        ):
            for window in lease.windows(text, since="1h"):
                items = [{"id": text}, {"id": f"{text[:200]}!"}]
                for page in window.pages(partial(_one_page, items)):
                    with page.commit() as tx:
                        for item in tx.fresh(page.items, key="id"):
                            with tx.attempt(item):
                                if item["id"] == text:
                                    raise ValueError(text)
            raise RuntimeError(text)
        key = (f"p{n % 3}", text)
        version = store.save((*key, "state"), {text: [text, {text: None}]})
        store.save((*key, "state"), {text: text}, expected_version=version)
        with contextlib.suppress(RuntimeError), store.once(text):
            raise RuntimeError(text)
        store.quarantine((*key, text), f"{text[:200]}?", text)
    for text in texts[:12]:
        store.save((text, text), text)


def _one_page(items: list[Item], _cursor: Any) -> tuple[list[Item], None]:
    return items, None


@pytest.fixture(scope="module")
def hostile() -> Iterator[str]:
    with scratch() as folder:
        url = f"sqlite:///{folder}/hostile.db"
        with belaypin.open(url) as store:
            plant(store, NAUGHTY)
        yield url


@pytest.fixture(scope="module")
def address(hostile: str) -> Iterator[str]:
    with serving(belaypin.web.app(hostile, refresh_s=60)) as found:
        yield found


def pages() -> Iterator[str]:
    """The lists, and the pages of each naughty thing."""
    for path in ("/", "/coverage", "/items", "/failures", "/leases", "/recovery", "/activity"):
        yield f"{path}?{urlencode({'limit': 500})}" if path not in ("/", "/recovery") else path
    yield "/items?kind=streams&limit=500"
    yield "/efficiency?limit=500"


def entity_pages(texts: tuple[str, ...]) -> Iterator[str]:
    for text in texts:
        key = {"pipeline": f"p{NAUGHTY.index(text) % 3}", "entity": text}
        yield f"/entity?{urlencode({**key, 'stream': text, 'item': text})}"
        yield f"/entity?{urlencode({**key, 'stream': 'state', 'old': 1})}"
        yield f"/items?{urlencode({**key, 'stream': text, 'contains': text[:100]})}"


@pytest.mark.parametrize(
    "is_all",
    [pytest.param(False, id="some"), pytest.param(True, id="all", marks=pytest.mark.long)],
)
def test_nothing_runs_in_a_browser(is_all: bool, address: str, browser: Browser) -> None:
    """The lists have every text; of the pages of one of them, each text has one, or all three."""
    scripts = [text for text in NAUGHTY if "hacked" in text or "<" in text][:6]
    own = [*entity_pages(tuple(scripts))]
    for path in (*pages(), *(own if is_all else [own[3 * n + n % 3] for n in range(6)])):
        browser.open(address + path)
        found = browser.run(
            "return [window.hacked, document.querySelectorAll('main script, main iframe, main base,"
            " main meta, main link, main math, main [onerror], main [onload]').length,"
            " [...document.forms].filter((f) => !f.action.startsWith(location.origin)).length,"
            " location.origin]"
        )
        assert found == [None, 0, 0, address], path
        assert browser.complaints() == [], path
    browser.open(f"{address}/items?limit=500")
    assert scripts[0] in browser.text()


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(NAUGHTY[::6], id="some"),
        pytest.param(NAUGHTY, id="all", marks=pytest.mark.long),
    ],
)
def test_every_naughty_thing_has_its_pages(texts: tuple[str, ...], address: str) -> None:
    with httpx.Client(base_url=address, timeout=30) as client:
        for path in (*pages(), *entity_pages(texts)):
            response = client.get(path)
            assert response.status_code in (200, 400), path
            assert response.status_code == 200 or "contains=" in path, (path, response.text)
        for text in texts:
            for path, name in (("/items", "q"), ("/failures", "error"), ("/leases", "after")):
                assert client.get(path, params={name: text}).status_code in (200, 400), (path, text)


@pytest.mark.parametrize("text", NAUGHTY)
def test_what_is_shown_can_be_seen(text: str) -> None:
    shown = visible(text)
    controls = {c for c in shown if not c.isprintable() and c not in "\n\t \u00a0\u3000"}
    assert controls == set()
    assert visible(shown) == shown
