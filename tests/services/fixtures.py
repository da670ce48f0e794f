"""A pytest plugin: fixtures with real servers, started before the first test that needs them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

import belaypin
from tests.services.postgres import Postgres, fresh_database, template_database
from tests.services.programs import ServiceMissing
from tests.services.recycling import Databases
from tests.services.redis_server import Redis
from tests.services.session import Server, Services

# Each fixture with the server it needs (an attribute of Services).
NEEDS = {
    "postgres_url": "postgres",
    "postgres_bare_url": "postgres",
    "postgres_durable": "postgres_durable",
    "postgres_lasting": "postgres",
    "redis_url": "redis",
    "chromium": "chromium",
}

_services = pytest.StashKey[Services]()


class DurablePostgres(NamedTuple):
    """A fresh database on a server that keeps fsync on and that the test may kill."""

    url: str
    server: Postgres

    def start(self) -> None:
        """Start the server again; return once it takes connections."""
        self.server.start()

    def stop_immediate(self) -> None:
        """Stop as ``pg_ctl stop -m immediate`` does."""
        self.server.stop_immediate()

    def kill9(self) -> None:
        """SIGKILL the server with all its processes."""
        self.server.kill9()


@pytest.fixture(scope="session")
def postgres_databases(pytestconfig: pytest.Config) -> Iterator[Databases]:
    """Databases with all migrations applied, and nothing else in them."""

    def migrate(url: str) -> None:
        belaypin.open(url).close()

    server_url = pytestconfig.stash[_services].postgres.url
    with (
        template_database(server_url, migrate) as template,
        closing(Databases(server_url, template)) as databases,
    ):
        yield databases


@pytest.fixture
def postgres_url(postgres_databases: Databases) -> Iterator[str]:
    """The URL of a PostgreSQL database with all migrations applied, and nothing else in it.

    The migrations would take 300 ms. See ``postgres_bare_url`` for a database that nobody has used.
    """
    with postgres_databases.lend() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all migrations applied, to be copied."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    belaypin.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of an SQLite file with all migrations applied, which take 30 ms, and nothing else."""
    path = shutil.copyfile(sqlite_template, tmp_path / "store.db")
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_bare_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database, which belaypin has never seen."""
    with fresh_database(pytestconfig.stash[_services].postgres.url) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_lasting(pytestconfig: pytest.Config) -> Iterator[str]:
    """A database for many tests that only read what the first of them has put there."""
    with fresh_database(pytestconfig.stash[_services].postgres.url) as url:
        yield url


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config) -> str:
    """The folder with ``chromium`` and ``chromedriver``."""
    return pytestconfig.stash[_services].chromium.url


@pytest.fixture
def postgres_durable(pytestconfig: pytest.Config) -> Iterator[DurablePostgres]:
    """A fresh database on a server that the test may kill and start again."""
    server = pytestconfig.stash[_services].postgres_durable
    server.start()
    with fresh_database(server.url) as url:
        try:
            yield DurablePostgres(url, server)
        finally:
            server.start()


@pytest.fixture
def redis_url(pytestconfig: pytest.Config) -> str:
    """The URL of an empty Redis."""
    url = pytestconfig.stash[_services].redis.url
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_services] = Services()
    os.environ.update(_workerinput(config).get("belaypin_urls", {}))


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_services].close()


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly:
        wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
        _start(session.config, [server for name, server in NEEDS.items() if name in wanted])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """With pytest-xdist, all workers share the servers of the process that started them."""
    _start(node.config, ["postgres", "redis", "chromium"])
    services = node.config.stash[_services]
    urls = {"BELAYPIN_TEST_POSTGRES": services.postgres.url}
    if isinstance(services.redis, Redis):
        number = node.workerinput["workerid"].removeprefix("gw")
        urls["BELAYPIN_TEST_REDIS"] = f"{services.redis.url}?db={number}"
    node.workerinput["belaypin_urls"] = urls


def _start(config: pytest.Config, names: list[str]) -> None:
    services = config.stash[_services]
    for name in names:
        new = name not in vars(services)
        try:
            server: Server = getattr(services, name)
        except (ServiceMissing, RuntimeError) as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.INTERNAL_ERROR)
        reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        if new and reporter and not _workerinput(config):
            reporter.ensure_newline()
            reporter.write_line(f"{name}: {server.name}, {server.origin}")


def _workerinput(config: pytest.Config) -> dict[str, Any]:
    found: dict[str, Any] = getattr(config, "workerinput", {})
    return found
