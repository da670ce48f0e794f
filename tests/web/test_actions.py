"""Each act from the dashboard, in the browser, in both themes and on both databases; and its traces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import belaypin
import belaypin.web
from belaypin.testing import FakeClock
from belaypin.web import acts
from belaypin.web.acts import ACTS
from tests.web.browser import Browser
from tests.web.conftest import scratch, serving

THEMES_AND_DATABASES = (("light", "sqlite"), ("dark", "postgres"))
ITEMS = [{"id": n} for n in range(6)]


@pytest.fixture(params=THEMES_AND_DATABASES, ids="-".join)
def acting(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Acting]:
    theme, database = request.param
    browser.look(theme=theme)
    with (
        _url(request, database) as url,
        belaypin.open(url) as store,
        serving(belaypin.web.app(url, actions=True, work=work, refresh_s=0.3)) as address,
    ):
        yield Acting(browser, store, address, url)
        assert browser.complaints() == []
        browser.open("about:blank")


@contextmanager
def _url(request: pytest.FixtureRequest, database: str) -> Iterator[str]:
    if database == "postgres":
        yield request.getfixturevalue("postgres_url")
        return
    with scratch() as folder:
        yield f"sqlite:///{folder}/acts.db"


class Acting:
    """A browser before a dashboard that may act, and its store."""

    def __init__(self, browser: Browser, store: belaypin.Store, address: str, url: str) -> None:
        self.browser = browser
        self.store = store
        self.address = address
        self.url = url

    def open(self, path: str) -> None:
        self.browser.open(self.address + path)

    def click(self, text: str) -> None:
        self.browser.click(text)

    def actions(self) -> list[str]:
        return [entry.action for entry in self.store.audit()]


def fail(store: belaypin.Store) -> None:
    """Four of six items fail: two are to be tried again, two are given up."""
    retry = belaypin.Retry(backoff="1h", jitter=0, give_up_on=(KeyError,))
    with store.lease("shop", "user:7") as lease:
        for window in lease.windows("orders", since="1h", retry=retry):
            for page in window.pages(lambda _cursor: (ITEMS, None)):
                with page.commit() as tx:
                    for item in tx.fresh(page.items, key="id"):
                        with tx.attempt(item):
                            if item["id"] < 4:
                                raise (KeyError if item["id"] < 2 else ValueError)("bad tag <i>")


def work(lease: belaypin.Lease, step: belaypin.Step) -> None:
    """The work of a user's pipeline; there is nothing to do."""
    assert lease.key == step.key


def test_failures_are_tried_again_by_their_filter(acting: Acting) -> None:
    fail(acting.store)
    acting.open("/failures")
    acting.click("ValueError")
    acting.browser.until("location.search.includes('ValueError')")
    acting.click("Try all of these again …")
    acting.browser.until("location.pathname === '/do/replay'")
    assert "2 are concerned" in acting.browser.text()
    assert "bad tag <i>" in acting.browser.text()
    acting.click("Try again")
    acting.browser.until("location.pathname === '/failures'")
    assert "2 items will be tried again." in acting.browser.text()
    waiting = acting.store.failures(status="waiting")
    assert all(failure.attempts == 0 for failure in waiting)
    assert len(waiting) == 2
    assert acting.actions().count("replay") == 2


def test_many_failures_are_worked_on_beside_the_pages(
    acting: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acts, "PATIENCE_S", 0)
    fail(acting.store)
    acting.open("/do/skip?status=quarantined")
    acting.click("Give up for good")
    acting.browser.until("location.pathname === '/failures'")
    assert "goes on beside the pages" in acting.browser.text()
    acting.browser.until("/ended.*: 2 items/.test(document.body.textContent)")
    assert acting.store.failures(status="quarantined") == []


def test_one_failure_is_given_up(acting: Acting) -> None:
    fail(acting.store)
    first = acting.store.failures()[0]
    acting.open(f"/failure?id={first.failure_id}")
    acting.click("Give it up …")
    acting.browser.until("location.pathname === '/do/skip'")
    acting.click("Give up for good")
    acting.browser.until("location.pathname === '/failures'")
    assert "1 items were given up." in acting.browser.text()
    assert acting.store.failure(first.failure_id) is None
    assert acting.store.seen(("shop", "user:7", "orders"), [first.item_id]) == {first.item_id}
    assert "skip" in acting.actions()


def test_a_plan_is_carried_out_and_its_result_shown(acting: Acting) -> None:
    with (
        pytest.raises(ConnectionError),
        acting.store.lease("shop", "user:7", retry=belaypin.Retry(backoff="1us", jitter=0)),
    ):
        raise ConnectionError("away")
    acting.open("/recovery")
    assert "retry" in acting.browser.text()
    acting.click("Recover …")
    acting.browser.until("location.pathname === '/do/recover'")
    assert "in this process" in acting.browser.text()
    acting.click("Recover now")
    acting.browser.until("location.pathname === '/recovery'")
    acting.browser.until("/1 done; 0 still due/.test(document.body.textContent)")
    assert acting.store.plan().due == 0
    assert "recover" in acting.actions()


def test_an_entity_is_let_out_of_quarantine(acting: Acting) -> None:
    with (
        pytest.raises(ConnectionError),
        acting.store.lease("shop", "user:7", retry=belaypin.Retry(max_attempts=1)),
    ):
        raise ConnectionError("away")
    acting.store.recover()
    acting.open("/entity?pipeline=shop&entity=user:7")
    assert "quarantined" in acting.browser.text()
    acting.click("Let out …")
    acting.browser.until("location.pathname === '/do/readmit'")
    acting.click("Let out")
    acting.browser.until("location.pathname === '/entity'")
    assert "shop / user:7 is out of quarantine." in acting.browser.text()
    assert acting.store.status(("shop", "user:7")).quarantined_at is None
    assert "readmit" in acting.actions()


def test_a_lease_is_broken(acting: Acting) -> None:
    lease = acting.store.lease("shop", "user:7", ttl_s="1h")
    lease.acquire()
    acting.open("/leases")
    acting.click("break …")
    acting.browser.until("location.pathname === '/do/break-lease'")
    acting.browser.one("input[name=reason]").send_keys("it hangs")
    acting.click("Break the lease")
    acting.browser.until("location.pathname === '/leases'")
    assert "was broken" in acting.browser.text()
    with pytest.raises(belaypin.Fenced), lease.changed("profile", {"name": "Ada"}):
        pass
    (entry,) = [entry for entry in acting.store.audit() if entry.action == "break-lease"]
    assert entry.detail["reason"] == "it hangs"


def test_garbage_is_collected(acting: Acting) -> None:
    long_ago = FakeClock(datetime.now(UTC) - timedelta(days=800))
    with belaypin.open(acting.url, clock=long_ago) as store:
        store.quarantine(("shop", "user:7", "orders"), 1, "of long ago")
    acting.open("/storage")
    acting.browser.until("document.body.textContent.includes('Collect garbage …')")
    acting.click("Collect garbage …")
    acting.browser.until("location.pathname === '/do/gc'")
    assert "audit: 1 rows" in acting.browser.text()
    acting.click("Drop it")
    acting.browser.until("location.pathname === '/storage'")
    acting.browser.until("/ended.*: 1 rows/.test(document.body.textContent)")
    assert acting.store.gc(dry_run=True).rows == 0


def test_every_act_is_tried() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [act.name for act in ACTS if f"'/do/{act.name}'" not in source] == []


def test_a_dashboard_that_only_reads_says_how_to_act(dashboard: str, browser: Browser) -> None:
    browser.look()
    browser.open(f"{dashboard}/do/replay?error=TimeoutError")
    assert "belaypin retry 'error:TimeoutError*'" in browser.text()
    assert "--actions" in browser.text()
    assert browser.all("main form") == []
