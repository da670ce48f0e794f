"""The connection is lost around a COMMIT: whether it took place is found out, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import belaypin
from tests.crash.mine import Mine
from tests.crash.miner import Miner
from tests.crash.proxy import Cut, Proxy, through_a_proxy
from tests.crash.source import Source
from tests.crash.world import Theatre, World

Note = Callable[[str, object], None]


@pytest.fixture
def proxied(postgres_url: str) -> Iterator[tuple[Proxy, str]]:
    with through_a_proxy(postgres_url) as found:
        yield found


@pytest.fixture
def theatre(postgres_url: str) -> Iterator[Theatre]:
    theatre = Theatre(postgres_url)
    yield theatre
    theatre.close()


def _mine_once(world: World, url: str) -> str:
    """Mine over the proxy; what came of it."""
    try:
        with belaypin.open(url, clock=world.clock) as store:
            world.mine(store)
    except belaypin.StoreUnavailable:
        return "StoreUnavailable"
    return "done"


@pytest.mark.parametrize("cut", ["before", "after", "during"])
def test_around_every_commit_of_a_run(
    theatre: Theatre, proxied: tuple[Proxy, str], cut: Cut, record_property: Note
) -> None:
    proxy, url = proxied
    outcomes = []
    number = 0
    while number == 0 or proxy.cuts:
        number += 1
        world = theatre.world(pages=8)  # enough for the driver to prepare its COMMIT
        proxy.cut_at(cut, number)
        outcomes.append(_mine_once(world, url))
        world.check()
    assert number > 10
    assert outcomes[-1] == "done"
    record_property("note", f"connection cut {cut} each of {number - 1} COMMITs: {outcomes}")


def test_a_page_whose_commit_took_place_goes_on(
    theatre: Theatre, proxied: tuple[Proxy, str]
) -> None:
    proxy, url = proxied
    world = theatre.world(pages=2)
    with belaypin.open(url, clock=world.clock) as store, world.held(store) as lease:
        pages = world.pages(lease)
        page = next(pages)
        proxy.cut_at("after", 1)
        world.commit(page, lease)  # nobody notices
        assert proxy.cuts == 1
        for page in pages:
            world.commit(page, lease)
    world.check()


def test_a_page_whose_commit_did_not_take_place_is_not_committed(
    theatre: Theatre, proxied: tuple[Proxy, str]
) -> None:
    proxy, url = proxied
    world = theatre.world(pages=2)
    with belaypin.open(url, clock=world.clock) as store, world.held(store) as lease:
        page = next(world.pages(lease))
        proxy.cut_at("before", 1)
        with pytest.raises(belaypin.StoreUnavailable):
            world.commit(page, lease)
        assert not page.is_committed
        assert not world.rows()
        for page in world.pages(lease):
            world.commit(page, lease)
    world.check()


def test_when_nobody_can_be_asked_the_error_says_so(
    theatre: Theatre, proxied: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("belaypin._sync.commit._OUTCOME_PAUSE_S", 0.01)
    monkeypatch.setattr("belaypin.backends._sync.postgres._CONNECT_TIMEOUT_S", 0.2)
    proxy, url = proxied
    world = theatre.world(pages=2)
    store = belaypin.open(url, clock=world.clock)
    lease = world.lease(store)
    lease.acquire()
    world.granted.append(("main", lease.token))
    page = next(world.pages(lease))
    proxy.refuses = True
    proxy.cut_at("after", 1)
    with pytest.raises(belaypin.StoreUnavailable):
        world.commit(page, lease)
    proxy.refuses = False
    store.close()
    assert len(world.rows()) == 2, "it took place, and nobody knows it yet"
    world.check()


def test_an_operation_runs_once_around_every_commit(
    theatre: Theatre, proxied: tuple[Proxy, str]
) -> None:
    proxy, url = proxied
    sql = "INSERT INTO effects (operation, who) VALUES (%s, %s)"
    for cut in ("before", "after", "during"):
        for number in (1, 2):
            operation = theatre.name()
            with belaypin.open(url, clock=theatre.clock) as store:
                proxy.cut_at(cut, number)
                for _ in range(3):
                    try:
                        with store.once(operation, ttl_s=1) as op:
                            if op:
                                op.tx.execute(sql, (operation, "A"))
                                op.result = "A"
                            assert op.result == "A"
                    except (belaypin.StoreUnavailable, belaypin.OperationRunning):
                        theatre.clock.advance(2)
            query = "SELECT count(*) FROM effects WHERE operation = ?"
            assert theatre.outside.one(query, operation) == 1, (cut, number)


@pytest.mark.long
@pytest.mark.parametrize("cut", ["before", "after", "during"])
def test_around_every_commit_of_real_work(
    tmp_path: Path,
    postgres_url: str,
    proxied: tuple[Proxy, str],
    cut: Cut,
    record_property: Note,
) -> None:
    proxy, url = proxied
    # A lease whose COMMIT is not known to have taken place is held by this very process.
    mine = Mine(tmp_path, postgres_url, share=24, entities=4, page_size=20, ttl_s=0.2)
    arguments = list(mine.fresh()[0].args)
    cuts = 0
    while True:
        proxy.cut_at(cut, 1 + cuts % 23)  # every kind has its turn, and there is progress
        try:
            with belaypin.open(url) as store:
                Miner(store, Source(mine.index), [url, *arguments[1:]]).run()
        except belaypin.StoreUnavailable:
            cuts += 1
            continue
        if not proxy.cuts:
            break
        cuts += 1
    assert mine.verify() == (0, 0)
    record_property("note", f"connection cut {cut} {cuts} COMMITs: nothing lost or doubled")


def test_a_lease_whose_commit_took_place_is_held(
    theatre: Theatre, proxied: tuple[Proxy, str]
) -> None:
    proxy, url = proxied
    with belaypin.open(url, clock=theatre.clock) as store:
        for cut in ("after", "during"):
            key = ("crash", theatre.name())
            proxy.cut_at(cut, 1)
            try:
                with store.lease(*key) as lease:
                    assert proxy.cuts == 1
                    with lease.changed("profile", 1) as change:
                        assert change
            except belaypin.StoreUnavailable:
                assert cut == "during", "it took place, so nobody has to know"
            with store.lease(*key):
                pass  # neither it nor anybody else waits for a lifetime


def test_a_lease_whose_commit_did_not_take_place_is_free(
    theatre: Theatre, proxied: tuple[Proxy, str]
) -> None:
    proxy, url = proxied
    key = ("crash", theatre.name())
    with belaypin.open(url, clock=theatre.clock) as store:
        proxy.cut_at("before", 1)
        with pytest.raises(belaypin.StoreUnavailable), store.lease(*key):
            raise AssertionError("nobody holds it")
        with store.lease(*key):
            pass
