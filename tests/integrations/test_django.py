"""Joining transactions of Django: the real Django on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

import belaypin
from belaypin.testing import conformance
from tests.integrations.places import DjangoPlace, django_database

JOINED = [check for check in conformance.checks("joined") if "no_connection" not in str(check)]


@pytest.fixture
def place(url: str) -> Iterator[DjangoPlace]:
    place = DjangoPlace(url)
    yield place
    place.close()


@pytest.fixture
def store(url: str) -> Iterator[belaypin.Store]:
    with belaypin.open(url) as store:
        yield store


@pytest.fixture
def alias(url: str) -> Iterator[str]:
    with django_database(url) as alias:
        yield alias


@pytest.fixture
def post(alias: str) -> Iterator[Any]:
    class Post(models.Model):
        text = models.TextField(unique=True)

        class Meta:
            app_label = "posts"

    with connections[alias].schema_editor() as editor:
        editor.create_model(Post)
    yield Post
    Post._meta.apps.all_models.pop("posts")


@pytest.mark.parametrize("check", JOINED, ids=str)
def test_conformance(check: conformance.Check, place: DjangoPlace) -> None:
    check(place)


def test_rows_of_the_orm_commit_with_the_page(store: belaypin.Store, alias: str, post: Any) -> None:
    items = [{"id": n, "text": f"post {n}"} for n in range(5)]
    for _ in range(2):
        with store.lease("shop", "site:1") as lease:
            for window in lease.windows("posts", since="1d", overlap="1d"):
                for page in window.pages(lambda cursor: (items, None)):
                    with (
                        transaction.atomic(using=alias),
                        page.commit(store.joined(connections[alias])) as tx,
                    ):
                        fresh = tx.fresh(page.items, key="id")
                        post.objects.using(alias).bulk_create(post(**item) for item in fresh)
    assert post.objects.using(alias).count() == 5
    assert store.seen(("shop", "site:1", "posts"), range(9)) == set(range(5))


def test_without_atomic_there_is_nothing_to_join(store: belaypin.Store, alias: str) -> None:
    joined = store.joined(connections[alias])
    with pytest.raises(belaypin.UsageError, match=rf"transaction.atomic\(using='{alias}'\)"):
        joined.save("p", 1)
    assert store.load("p") is None
    with transaction.atomic(using=alias):
        joined.save("p", 1)
        assert store.load("p") is None
    assert store.load("p") is not None


def test_on_commit_sees_what_was_committed(store: belaypin.Store, alias: str) -> None:
    seen: list[Any] = []

    def look() -> None:
        checkpoint = store.load("p")
        seen.append(checkpoint and checkpoint.state)

    with transaction.atomic(using=alias):
        transaction.on_commit(look, using=alias)
        store.joined(connections[alias]).save("p", "kept")
        assert seen == []
    assert seen == ["kept"]
    with suppress(ZeroDivisionError), transaction.atomic(using=alias):
        transaction.on_commit(look, using=alias)
        store.joined(connections[alias]).save("p", "undone")
        raise ZeroDivisionError
    assert seen == ["kept"]
    look()
    assert seen == ["kept", "kept"]


def test_an_inner_atomic_is_a_savepoint(store: belaypin.Store, alias: str) -> None:
    with transaction.atomic(using=alias):
        joined = store.joined(connections[alias])
        joined.save("outer", 1)
        with suppress(ZeroDivisionError), transaction.atomic(using=alias):
            joined.save("inner", 1)
            with joined.once("op") as op:
                op.result = "undone"
            raise ZeroDivisionError
        with transaction.atomic(using=alias):
            joined.save("second", 1)
    assert store.load("outer") is not None
    assert store.load("inner") is None
    assert store.load("second") is not None
    assert store.operation("op") is None


def test_what_the_database_refuses_is_undone_alone(
    store: belaypin.Store, alias: str, post: Any
) -> None:
    def insert(once: belaypin.Once) -> None:
        with once as op:
            op.tx.execute("INSERT INTO posts_post (text) VALUES ('50%')")
            op.tx.execute("INSERT INTO posts_post (text) VALUES (%s)", ["100%"])

    with transaction.atomic(using=alias):
        post.objects.using(alias).create(text="100%")
        joined = store.joined(connections[alias])
        with pytest.raises(belaypin.SqlError) as caught:
            insert(joined.once("op"))
        assert isinstance(caught.value.__cause__, IntegrityError)
        with joined.once("op") as op:
            op.tx.execute("INSERT INTO posts_post (text) VALUES (%(text)s)", {"text": "7%"})
            op.result = op.tx.execute("SELECT text FROM posts_post ORDER BY text").fetchall()
    assert {*post.objects.using(alias).values_list("text", flat=True)} == {"100%", "7%"}


def test_another_database_is_refused(store: belaypin.Store, tmp_path: Any, url: str) -> None:
    other_url = f"sqlite:///{tmp_path}/other.db"
    belaypin.open(other_url).close()
    with (
        django_database(other_url) as alias,
        transaction.atomic(using=alias),
        pytest.raises(belaypin.UsageError, match=r"same database|another database"),
    ):
        store.joined(connections[alias]).save("p", 1)
    assert store.load("p") is None


def test_an_async_store_refuses_it(sqlite_url: str, alias: str) -> None:
    async def join(connection: Any) -> None:
        async with await belaypin.aopen(sqlite_url) as store:
            store.joined(connection)

    for found in (connection, connections[alias]):
        with pytest.raises(belaypin.UsageError, match=r"open\("):
            asyncio.run(join(found))


def test_other_databases_of_django_are_refused(sqlite_url: str, alias: str) -> None:
    """By name: its driver is not needed to see that no store can be there."""

    class Elsewhere(BaseDatabaseWrapper):
        vendor, display_name = "mysql", "MySQL"

        def __init__(self) -> None:
            """Connects to nothing."""

    with (
        belaypin.open(sqlite_url) as store,
        pytest.raises(belaypin.UsageError, match="MySQL, where no store can be"),
    ):
        store.joined(Elsewhere())
