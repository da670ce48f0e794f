"""Source revisions: of two fetches the newer one stays, whichever arrives first."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from belaypin import Retry, UsageError
from belaypin.errors import CorruptRecord
from belaypin.programs import ledger
from belaypin.revisions import compare, marks, parts, revision_number
from belaypin.segments import merge, pack, unpack
from tests.capabilities.fewer import colour, database, pair  # noqa: F401 -- fixtures
from tests.capabilities.sites import START, Awaited, Site

KEY = ("shop", "user:7", "posts")
AT = "2024-01-01T00:00:00Z"
SYNC_FILES = [("sync", "file"), ("sync", "postgres")]


def post(post_id: int, revision: Any, text: str = "") -> dict[str, Any]:
    return {"id": post_id, "revision": revision, "text": text}


async def take(store: Any, posts: list[Any], role: str = "main", **options: Any) -> list[Any]:
    """Commit them as a batch; which were fresh, and of what kind."""
    options = {"revision": "revision", **options}
    async with (
        store.lease("shop", "user:7", role=role) as lease,
        lease.live("posts", at=lambda item: AT) as live,
        live.batch(posts).commit() as tx,
    ):
        fresh = await tx.fresh(posts, key="id", **options)
        return [(p["id"], p["revision"], await plain(tx.kind(p))) for p in fresh]


async def plain(value: Any) -> Any:
    """What is awaited on the sync side only, where everything is."""
    return await value if isinstance(value, Awaited) else value


# --- items ----------------------------------------------------------------------------------------


async def test_a_slow_old_fetch_never_overwrites_a_newer_one(site: Site) -> None:
    # The article keeps the last arrival.
    store = await site.open()
    assert await take(store, [post(1, 5), post(2, 5)]) == [(1, 5, "new"), (2, 5, "new")]
    assert await take(store, [post(1, 7), post(2, 5)]) == [(1, 7, "changed")]
    assert await take(store, [post(1, 6), post(2, 4)]) == []
    assert await take(store, [post(1, 8)], role="other") == [(1, 8, "changed")]
    assert await take(store, [post(1, 7)]) == []
    found = await store.load(KEY)
    assert (found.items, found.changed, found.stale, found.skipped) == (2, 2, 3, 4)


async def test_the_highest_revision_of_a_page_counts(site: Site) -> None:
    store = await site.open()
    page = [post(1, 5), post(1, 9, "the one"), post(1, 7)]
    assert await take(store, page) == [(1, 9, "new")]
    assert await take(store, [post(1, 8)]) == []


async def test_revisions_may_be_times(site: Site) -> None:
    store = await site.open()
    assert await take(store, [post(1, "2024-01-01T12:00:00+02:00")])
    assert await take(store, [post(1, "2024-01-01T11:00:00+02:00")]) == []
    assert await take(store, [post(1, datetime.fromisoformat("2024-01-01T10:00:00.000001Z"))])
    assert await take(store, [post(1, "2024-01-01T10:00:00Z")]) == []


async def test_the_same_content_in_a_newer_revision_is_skipped_but_noted(site: Site) -> None:
    store = await site.open()
    content: dict[str, Any] = {"content": ["text"]}
    assert await take(store, [post(1, 5, "a")], **content)
    assert await take(store, [post(1, 7, "a")], **content) == []
    # Were 7 not noted, this edit of between would overwrite what 7 has shown to be gone.
    assert await take(store, [post(1, 6, "b")], **content) == []
    assert await take(store, [post(1, 7, "c")], **content) == [(1, 7, "changed")]
    assert await take(store, [post(1, 8, "a")], **content) == [(1, 8, "changed")]
    assert (await store.load(KEY)).stale == 1


async def test_a_stream_may_begin_to_have_revisions(site: Site) -> None:
    store = await site.open()
    without: dict[str, Any] = {"revision": None}
    assert await take(store, [post(1, 5), post(2, 5)], **without)
    assert await take(store, [post(3, 5, "a"), post(4, 5, "a")], content=["text"], **without)
    assert await take(store, [post(1, 3)]) == [(1, 3, "changed")]  # nobody knew which it was
    assert await take(store, [post(3, 4, "a"), post(4, 4, "b")], content=["text"]) == [
        (4, 4, "changed")
    ]
    assert await take(store, [post(1, 2), post(3, 3, "c"), post(4, 3, "d")]) == []
    assert await take(store, [post(2, 1)], **without) == []


async def test_revisions_outlive_merges(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "FAN_OUT", 3)
    store = await site.open()
    await take(store, [post(n, None) for n in range(4)], revision=None)
    for revision in range(1, 8):
        assert len(await take(store, [post(n, revision) for n in range(2, 6)])) == 4
        assert await take(store, [post(3, revision - 1)]) == []
    explained = await store.explain(KEY, 3)
    assert explained.placed.revision == 7
    assert "revision 7" in str(explained)
    assert (await store.verify()).ok


async def test_what_has_no_order_is_refused(site: Site) -> None:
    store = await site.open()
    wrongs: list[Any] = [None, "", "yesterday", 1.5, True, 2**63, "2024-01-01T00:00:00", []]
    for wrong in wrongs:
        with pytest.raises(UsageError, match="revision"):
            await take(store, [post(1, wrong)])
    with pytest.raises(UsageError, match="revision of item 0"):
        await take(store, [{"id": 1}])
    assert await store.load(KEY) is None or (await store.load(KEY)).items == 0


async def test_an_older_revision_does_not_take_the_place_of_one_that_failed(site: Site) -> None:
    store = await site.open()
    await take(store, [post(1, 5)])
    async with (
        store.lease("shop", "user:7") as lease,
        lease.live("posts", at=lambda item: AT, retry=Retry(backoff="1us")) as live,
        live.batch([post(1, 7)]).commit() as tx,
    ):
        for item in await tx.fresh([post(1, 7)], key="id", revision="revision"):
            async with tx.attempt(item):
                raise ZeroDivisionError
    assert await take(store, [post(1, 6)]) == []
    assert await take(store, [post(1, 5)]) == []
    taken = []
    async with store.lease("shop", "user:7") as lease:
        async for window in lease.windows("posts", since="1d", until=START):
            async for page in window.pages(lambda cursor: ([], None)):
                async with page.commit() as tx:
                    taken += await tx.fresh(page.items, key="id", revision="revision")
    assert taken == [post(1, 7)]
    assert await take(store, [post(1, 6)]) == []


@pytest.mark.parametrize("pair", SYNC_FILES, ids="-".join)
async def test_two_roles_race_with_a_slow_old_fetch(site: Site) -> None:
    """Each fetches, dawdles, and writes with upsert: what stays is the newest revision of each."""
    setup = await site.open()
    await setup.execute("CREATE TABLE effect (id INTEGER PRIMARY KEY, revision INTEGER)")
    mark = "%s" if site.url.startswith("postgresql") else "?"
    upsert = (
        f"INSERT INTO effect VALUES ({mark}, {mark}) "
        f"ON CONFLICT (id) DO UPDATE SET revision = excluded.revision"
    )

    def work(role: str, revisions: list[int]) -> None:
        with (
            belaypin.open(site.url) as store,
            store.lease("shop", "user:7", role=role) as lease,
            lease.live("posts", at=lambda item: AT) as live,
        ):
            for revision in revisions:
                batch = live.batch([post(n, revision) for n in range(5)])
                with batch.commit() as tx:
                    for each in tx.fresh(batch.items, key="id", revision="revision"):
                        tx.execute(upsert, (each["id"], each["revision"]))

    orders = {"main": [2, 9, 3, 12, 4], "live": [5, 1, 11, 6, 2], "third": [10, 7, 8, 3, 1]}
    threads = [threading.Thread(target=work, args=order) for order in orders.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert await site.query("SELECT DISTINCT revision FROM effect") == [(12,)]
    await site.close()


BATCHES = st.lists(
    st.tuples(
        st.sampled_from(["main", "other"]),
        st.lists(
            st.tuples(st.integers(0, 4), st.integers(1, 6), st.sampled_from("ab")), max_size=5
        ),
    ),
    max_size=12,
)


@given(BATCHES, st.booleans())
def test_any_order_of_fetches_ends_at_the_newest(
    batches: list[tuple[str, list[tuple[int, int, str]]]], with_content: bool
) -> None:
    """Against a model: the highest revision of each id, as a page brings it."""
    options: dict[str, Any] = {"content": ["text"]} if with_content else {}
    model: dict[int, tuple[int, str]] = {}
    effects: dict[int, tuple[int, str]] = {}
    stale = 0
    with pytest.MonkeyPatch.context() as patch, belaypin.open("sqlite:///:memory:") as store:
        patch.setattr(ledger, "FAN_OUT", 3)
        for role, offered in batches:
            posts = [post(*each) for each in offered]
            newest = {
                i: max((r, n, t) for n, (j, r, t) in enumerate(offered) if j == i)
                for i, *_ in offered
            }
            expected = {}
            for post_id, (revision, _, text) in newest.items():
                known = model.get(post_id, (0, ""))
                stale += revision < known[0]
                is_other = not with_content or text != known[1]
                if revision > known[0] or (with_content and revision == known[0]):
                    model[post_id] = revision, text
                    if is_other:
                        expected[post_id] = revision, text
            fresh = commit_batch(store, role, posts, options)
            assert {p["id"]: (p["revision"], p["text"]) for p in fresh} == expected
            effects |= expected
        found = store.load(KEY)
        assert (found.stale if found else 0) == stale
        assert {i: r if not with_content else t for i, (r, t) in effects.items()} == {
            i: r if not with_content else t for i, (r, t) in model.items()
        }
        assert store.verify().ok


def commit_batch(store: Any, role: str, posts: list[Any], options: dict[str, Any]) -> list[Any]:
    with (
        store.lease("shop", "user:7", role=role) as lease,
        lease.live("posts", at=lambda item: AT) as live,
        live.batch(posts).commit() as tx,
    ):
        fresh: list[Any] = tx.fresh(posts, key="id", revision="revision", **options)
        return fresh


# --- documents ------------------------------------------------------------------------------------


async def offer(store: Any, document: Any, revision: Any = None, **options: Any) -> str:
    async with (
        store.lease("shop", "user:7") as lease,
        lease.changed("profile", document, revision=revision, **options) as change,
    ):
        kind: str = change.kind
        assert bool(change) is (kind in ("new", "changed"))
        return kind


async def test_an_older_document_is_stale(site: Site) -> None:
    store = await site.open()
    profile = ("shop", "user:7", "profile")
    assert await offer(store, "a", 5) == "new"
    assert await offer(store, "b", 7) == "changed"
    assert await offer(store, "a", 6) == "stale"
    assert await offer(store, "b", 6) == "stale"
    assert await offer(store, "b", 7) == "unchanged"
    assert await offer(store, "b", 9) == "unchanged"
    assert await offer(store, "c", 8) == "stale"
    assert await offer(store, "c", 9) == "changed"
    assert await offer(store, "d") == "changed"
    assert await offer(store, "e", 8) == "stale"
    found = await store.load(profile)
    assert (found.stale, found.changed) == (4, 4)
    with pytest.raises(UsageError, match="revision"):
        await offer(store, "f", "updated_at")
    assert (await store.explain(profile)).revision == 9


async def test_a_stale_document_has_no_transaction(site: Site) -> None:
    store = await site.open()
    await offer(store, "a", 5)
    async with (
        store.lease("shop", "user:7") as lease,
        lease.changed("profile", "b", revision=4) as change,
    ):
        with pytest.raises(UsageError, match="stale"):
            _ = change.tx


# --- the parts ------------------------------------------------------------------------------------


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.integers(-(2**63) + 1, 2**63 - 1))
def test_marks_compare_as_their_revisions_do(one: int, two: int) -> None:
    first, second = marks([{"r": one}, {"r": two}], "r", None)
    assert compare(first, second) == ("newer" if two > one else "same" if two == one else "older")
    assert parts(first) == (one, None)
    assert compare(None, first) == "newer"


PRINTS = st.none() | st.binary(min_size=16, max_size=16) | st.binary(min_size=24, max_size=24)
IDS = st.integers(-9, 9) | st.text("ab", min_size=1, max_size=3)


def _kept(fingerprint: bytes | None) -> bytes | None:
    """As no fingerprint is all zeros and no revision either, those need not survive."""
    if fingerprint is None or not any(fingerprint):
        return None
    return fingerprint if any(fingerprint[:8]) or len(fingerprint) == 16 else fingerprint[8:]


@given(st.lists(st.dictionaries(IDS, PRINTS, min_size=1), min_size=1, max_size=5))
def test_every_mix_of_marks_is_packed_and_merged_without_loss(
    commits: list[dict[str | int, bytes | None]],
) -> None:
    def read(segments: list[Any]) -> dict[str | int, bytes | None]:
        return {i: p for s in segments for i, p in unpack(s.payload, "it").items()}

    wanted: dict[str | int, bytes | None] = {}
    stored = []
    for entries in commits:
        expected = {i: _kept(p) for i, p in entries.items()}
        assert read(pack(entries)) == expected
        stored += [("it", segment.payload) for segment in pack(entries)]
        wanted |= expected
    assert read(merge(stored[:-1], unpack(stored[-1][1], "it"))) == wanted


def test_a_mark_that_nobody_knows_is_corruption() -> None:
    from belaypin.codec import encode_frame

    with pytest.raises(CorruptRecord):
        unpack(encode_frame(b"i\x03\x01\0\0\0" + bytes(8), level=1), "it")


def test_a_revision_is_a_number_or_a_time() -> None:
    assert revision_number(7) == 7
    assert revision_number("1970-01-01T01:00:00+01:00") == 0
