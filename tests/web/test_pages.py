"""Every page over a real server: what it says on a store with a story, an empty one, and none at all."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from html import unescape
from pathlib import Path

import click
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import belaypin
import belaypin.web
from belaypin.cli import main as cli
from belaypin.web.pages import PAGES
from tests.web.conftest import client

NAVIGATED = [page.path for page in PAGES if page.nav]
USER = "/entity?pipeline=stackexchange&entity=user:19"
SHOP = "/entity?pipeline=orders&entity=shop:0"
PROFILE = "/entity?pipeline=stackexchange&entity=profiles&old=1"
ITEMS = "/items?pipeline=stackexchange&entity=user:19&stream=posts"

SAYS = {
    "/": [
        *("stackexchange", "orders", "7 gaps in the coverage", "25 items failed", "Worst lag"),
        *("Recovery, drilled", "p99 of 200 kills", "nothing lost or doubled"),
    ],
    "/?pipeline=orders": ["orders", "Recovery readiness", "never drilled"],
    "/coverage": ["user:53 / comments", "worst lag", "belaypin backfill stackexchange/user:19/"],
    "/coverage?q=gaps>0&zoom=30d": ["user:19 / posts"],
    "/coverage?pipeline=orders": [
        *("listened to last", "window at work", "its overlap", "Listened to", "5h to", "main"),
        *("covered live: 20", "overlap, read again: 20", "window at work: 20"),
    ],
    "/items": ["stackexchange / user:19", "belaypin"],
    "/items?q=state:working": ["orders / shop:0"],
    "/items?kind=streams&q=stream:posts": ["user:19 / posts"],
    ITEMS: ["explain"],
    "/recovery": ["quarantine", "resume", "a window of orders is open and its worker died", "wait"],
    "/failures": ["TimeoutError", "KeyError", "unknown tag <b>&", "legal asked for it"],
    "/failures?error=ValueError": [
        *("Try all of these again", "belaypin failures 'error:ValueError*' --by-error"),
    ],
    "/failure?id=2": ["Traceback", "TimeoutError: the read timed out", "2"],
    "/leases": ["orders / shop:0", "live", "in 5"],
    "/leases?q=state:released": ["stackexchange / user:19"],
    "/storage": ["ledger", "Growth"],
    "/efficiency": ["stackexchange", "Processed and skipped"],
    "/activity": ["reopen", "quarantine", "legal asked for it"],
    "/activity?actor=nobody": ["Nothing by them", "belaypin audit --actor nobody"],
    SHOP: [
        *(
            "Open windows",
            "Next page at",
            "Read again to",
            "belaypin windows orders/shop:0",
            "live",
        ),
        *("covered live: 20", "overlap, read again: 20"),
    ],
    PROFILE: ["version 3, schema version 2", "difference", "From version 1 to now", "reputation"],
    USER: ["badges", "comments", "profile", "reopen", "Gaps"],
    f"{USER}&stream=posts": ["Why was an item skipped?"],
    f"{USER}&stream=posts&item=1&numeric=true": ["was never committed"],
    f"{USER}&begin=2020-01-01T00:00:00Z&end=2020-02-01T00:00:00Z": ["2020-01-01 00:00:00Z"],
}


def text_of(response: httpx.Response) -> str:
    """What a reader sees, on one line."""
    body = re.sub(r"<(script|style).*?</\1>", "", response.text, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", "", body)).split())


def missing(found: httpx.Client, path: str, words: list[str]) -> list[str]:
    """The words that a page does not say, also once its figures were read."""
    patience = time.monotonic() + 20
    while True:
        response = found.get(path)
        assert response.status_code == 200, (path, response.text)
        left = [word for word in words if word not in text_of(response)]
        if not left or time.monotonic() > patience:
            return left
        time.sleep(0.2)


def test_every_page_says_what_there_is(told: httpx.Client) -> None:
    for path, words in SAYS.items():
        assert missing(told, path, words) == [], path


def test_every_page_of_the_navigation_is_tried() -> None:
    assert [path for path in NAVIGATED if path not in SAYS] == []


def test_a_page_goes_on_where_the_last_one_ended(told: httpx.Client) -> None:
    seen: list[str] = []
    path: str | None = "/items?kind=streams&q=stream:badges&limit=5"
    while path:
        response = told.get(path)
        seen += re.findall(r'class="key" href="[^"]*entity=([^&"]*)', response.text)
        following = re.search(r'rel="next" href="([^"]*)"', response.text)
        path = unescape(following[1]) if following else None
    assert len(seen) == len({*seen}) > 10


@pytest.mark.parametrize("path", [p for p in NAVIGATED if p != "/"])
def test_an_empty_store_has_its_own_words(path: str, empty_dashboard: str) -> None:
    response = httpx.get(empty_dashboard + path)
    assert response.status_code == 200
    assert 'class="empty"' in response.text


def test_an_empty_store_says_how_to_begin(empty_dashboard: str) -> None:
    assert "Nothing is stored yet" in httpx.get(empty_dashboard).text


def test_one_entity_is_enough(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/one.db"
    with belaypin.open(url) as store:
        store.save(("shop", "user:7"), {"pages": 3})
    with client(belaypin.web.app(url)) as found:
        for page in NAVIGATED:
            assert found.get(page).status_code == 200, page
        assert '"pages": 3' in text_of(found.get("/entity?pipeline=shop&entity=user:7"))
        assert missing(found, "/", ["All is well"]) == []


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/items?q=colour:red", "there is no field"),
        ("/items?limit=0", "limit"),
        ("/items?limit=many", "limit"),
        ("/items?colour=red", "no parameter 'colour'"),
        ("/coverage?zoom=2d", "zoom"),
        ("/coverage?begin=2024-01-01T00:00:00", "time zone"),
        ("/coverage?begin=2024-01-02T00:00:00Z&end=2024-01-01T00:00:00Z", "before"),
        ("/entity", "pipeline"),
        ("/failure?id=999", "any more"),
        ("/items?after=nonsense", "after"),
        ("/do/replay", "Choose first"),
        ("/items?q=%00", "NUL"),
        ("/entity?pipeline=a&entity=b&stream=c&item=x&numeric=true", "no whole number"),
    ],
)
def test_what_cannot_be_asked_says_why(path: str, advice: str, dashboard: str) -> None:
    response = httpx.get(dashboard + path)
    assert response.status_code == 400
    assert advice in text_of(response)


def test_an_address_that_is_none_leads_home(dashboard: str) -> None:
    response = httpx.get(f"{dashboard}/nowhere")
    assert response.status_code == 404
    assert 'href="/"' in response.text


def test_a_store_that_cannot_be_reached_is_a_page(tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:9/none"
    with client(belaypin.web.app(url)) as found:
        begin = time.monotonic()
        response = found.get("/")
        assert response.status_code == 503
        assert "can't be reached" in text_of(response)
        assert "nobody:" not in response.text
        assert found.get("/api/health").status_code == 503
        assert time.monotonic() - begin < 20


def test_a_store_that_comes_back_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with client(belaypin.web.app(f"sqlite:///{folder}/app.db")) as found:
        assert found.get("/").status_code >= 400
        folder.mkdir()
        with belaypin.open(f"sqlite:///{folder}/app.db") as store:
            store.save(("shop", "user:7"), 1)
        patience = time.monotonic() + 20
        while found.get("/").status_code != 200:
            assert time.monotonic() < patience
            time.sleep(0.2)


def test_it_can_be_mounted(story: str) -> None:
    app = Starlette(routes=[Mount("/deep/down", belaypin.web.app(story))])
    with client(app) as found:
        text = found.get("/deep/down/").text
        links = {unescape(link) for link in re.findall(r'(?:href|src|action)="(/[^"]*)"', text)}
        assert [link for link in links if not link.startswith("/deep/down/")] == []
        for link in sorted(links):
            if "/theme" not in link:
                assert found.get(link).status_code == 200, link


def test_a_secret_of_the_url_is_not_shown(tmp_path: Path) -> None:
    app = belaypin.web.app("postgresql://ada:geheim@127.0.0.1:9/none?password=geheim")
    with client(app) as found:
        text = found.get("/").text
    assert "geheim" not in text
    assert "postgresql://ada@127.0.0.1:9/none" in text


def test_a_browser_may_keep_our_files(dashboard: str) -> None:
    links = re.findall(r'(?:href|src)="(/static/[^"]*)"', httpx.get(dashboard).text)
    assert len({*links}) >= 6
    for link in links:
        response = httpx.get(dashboard + unescape(link))
        assert response.status_code == 200
        assert "immutable" in response.headers["cache-control"]
    assert httpx.get(f"{dashboard}/static/../app.py").status_code == 404


def test_pages_hear_when_to_look_again(sqlite_story: str) -> None:
    app = belaypin.web.app(sqlite_story, refresh_s=0.1)
    with client(app) as found, found.stream("GET", "/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        heard = [next(lines) for _ in range(8)]
    assert heard.count("event: tick") >= 2


def test_the_command_line_takes_each_command_that_is_shown(dashboard: str) -> None:
    shown: set[str] = set()
    for path in (
        *SAYS,
        "/do/replay?error=ValueError&pipeline=stackexchange",
        "/do/gc",
        "/do/recover",
        "/do/readmit?pipeline=orders&entity=shop:0",
        "/do/break-lease?pipeline=orders&entity=shop:0",
        "/do/skip?failure_id=2",
    ):
        text = httpx.get(dashboard + path).text
        shown |= {unescape(command) for command in re.findall(r'data-copy="([^"]*)"', text)}
    assert len(shown) > 20
    for command in sorted(shown):
        program, name, *words = shlex.split(command)
        assert program == "belaypin"
        known = cli.get_command(click.Context(cli), name)
        assert known is not None, command
        known.make_context(name, words)


def test_a_figure_that_takes_long_holds_no_page_up(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = belaypin.AsyncStore.health
    ready = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def slow(store: belaypin.AsyncStore, **of: str | None) -> belaypin.Health:
        loops.append(asyncio.get_running_loop())
        await ready.wait()
        return await read(store, **of)

    monkeypatch.setattr(belaypin.AsyncStore, "health", slow)
    with client(belaypin.web.app(empty)) as found:
        assert found.get("/api/health").json() == {"value": None, "age_s": None, "cost_s": None}
        loops[0].call_soon_threadsafe(ready.set)
        patience = time.monotonic() + 20
        while found.get("/api/health").json()["value"] is None:
            assert time.monotonic() < patience
            time.sleep(0.05)
        sampled = found.get("/api/health").json()
        assert sampled["value"]["keys"] == 0
        assert sampled["cost_s"] > 0
