"""The servers of one run, each started when first asked for."""

from __future__ import annotations

import os
import subprocess
from functools import cached_property
from types import TracebackType
from typing import NamedTuple, Self

from tests.services.keeper import Keeper
from tests.services.postgres import GivenPostgres, Postgres
from tests.services.programs import chromium_programs, postgres_programs, redis_programs
from tests.services.redis_server import GivenRedis, Redis

__all__ = ["Chromium", "Server", "Services"]


class Chromium(NamedTuple):
    """A browser and its driver; each test that needs one starts its own."""

    url: str
    """The folder of both."""
    origin: str
    name: str


Server = GivenPostgres | Postgres | GivenRedis | Redis | Chromium  # each has name, origin and url


class Services:
    """Everything is stopped and removed on exit, and by the keeper when there is no exit."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._started: list[Postgres | Redis] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @cached_property
    def postgres(self) -> GivenPostgres | Postgres:
        """A server for ordinary tests: databases come and go, the server stays."""
        if url := os.environ.get("BELAYPIN_TEST_POSTGRES"):
            return GivenPostgres(url, "the server in BELAYPIN_TEST_POSTGRES")
        return self._start_postgres(durable=False)

    @cached_property
    def postgres_durable(self) -> Postgres:
        """A server with fsync on that tests may kill; always our own."""
        return self._start_postgres(durable=True)

    @property
    def postgres_in_production(self) -> GivenPostgres | Postgres:
        """For benchmarks: the given server as it is, else our durable one."""
        return self.postgres if "BELAYPIN_TEST_POSTGRES" in os.environ else self.postgres_durable

    @cached_property
    def redis(self) -> GivenRedis | Redis:
        """A server whose data nobody needs."""
        if url := os.environ.get("BELAYPIN_TEST_REDIS"):
            return GivenRedis(url, "the server in BELAYPIN_TEST_REDIS")
        server = Redis(redis_programs(self._keeper), self._keeper)
        self._started.append(server)
        return server

    @cached_property
    def chromium(self) -> Chromium:
        """A browser, as Debian builds it."""
        programs = chromium_programs()
        version = [str(programs.folder / "chromium"), "--version"]
        said = subprocess.run(version, capture_output=True, text=True, check=True).stdout
        name = " ".join(said.split()[:2])
        return Chromium(str(programs.folder), programs.origin, name)

    def _start_postgres(self, *, durable: bool) -> Postgres:
        server = Postgres(postgres_programs(self._keeper), self._keeper, durable=durable)
        self._started.append(server)
        return server

    def close(self) -> None:
        """Stop all that was started here; return once it is gone. A forked child stops nothing."""
        if os.getpid() != self._owner:
            return
        for server in self._started:
            server.close()
        self._started.clear()
        if "_keeper" in self.__dict__:
            self._keeper.close()

    @cached_property
    def _keeper(self) -> Keeper:
        return Keeper()
