"""A PostgreSQL server of our own, on a private socket, that tests may kill and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.services.keeper import Keeper
from tests.services.memory import scratch_root
from tests.services.programs import Programs
from tests.services.user import as_user, make_folder

__all__ = [
    "GivenPostgres",
    "Postgres",
    "create_database",
    "database_url",
    "drop_database",
    "fresh_database",
    "template_database",
]

START_S = 60.0  # recovery after a kill reads the log again
STOP_S = 30.0

# Ordinary tests kill no server and may lose its data with the machine: no fsync.
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_wal_size=256MB")
ALL = ("listen_addresses=", "max_connections=200", "shared_buffers=128MB", "log_timezone=UTC")


class GivenPostgres(NamedTuple):
    """A server from the environment, on which we may create databases."""

    url: str
    origin: str
    name: str = "PostgreSQL"


class Postgres:
    """A cluster in a folder of its own. ``durable`` keeps fsync on, as users run theirs."""

    def __init__(self, programs: Programs, keeper: Keeper, *, durable: bool = False) -> None:
        self._programs = programs
        self._keeper = keeper
        self._settings = ALL if durable else ALL + FAST
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = make_folder(keeper, None if durable else scratch_root())
        self.url = f"postgresql://postgres@/postgres?host={self._folder}"
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        self.start()
        self.name = f"PostgreSQL {self._run('postgres', '--version').split()[2]}"
        self.origin = f"{programs.origin}, own cluster on a private socket"

    def start(self) -> None:
        """Start the server, unless it runs; return once it takes connections."""
        if self._process is not None:
            return
        options = [f"-c{setting}" for setting in self._settings]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs.folder / "postgres", f"-k{self._folder}", *options],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_user(),
            )
        # SIGQUIT is the immediate shutdown, which ends the server's children too.
        self._keeper.keep(self._process, signal.SIGQUIT)
        self._wait_for_connections()

    def stop_immediate(self) -> None:
        """Stop as ``pg_ctl stop -m immediate`` does: no checkpoint, recovery at the next start."""
        self._end(signal.SIGQUIT)

    def kill9(self) -> None:
        """SIGKILL the server and every process of it; return once all are gone."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """The end: an immediate stop also gives back the shared memory, unlike a kill."""
        self.stop_immediate()

    def log(self) -> str:
        """What the server wrote so far."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        family = _children(process.pid)
        process.send_signal(number)
        process.wait(timeout=STOP_S)
        self._process = None
        self._keeper.forget(process)
        patience = time.monotonic() + STOP_S
        # Those left notice that their parent is gone, but only when they next wait.
        while family := {pid for pid in family if _parent(pid) is not None}:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > patience:
                raise TimeoutError(f"PostgreSQL's processes {sorted(family)} do not end")
            time.sleep(0.005)

    def _wait_for_connections(self) -> None:
        patience = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError as error:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > patience:
                    last = "\n".join(self.log().splitlines()[-10:])
                    raise RuntimeError(f"PostgreSQL does not start:\n{last}") from error
                time.sleep(0.01)

    def _run(self, program: str, *arguments: str) -> str:
        command: list[str | Path] = [self._programs.folder / program, *arguments]
        run = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            **as_user(),
        )
        if run.returncode:
            raise RuntimeError(f"{program} failed: {run.stderr.strip()}")
        return run.stdout

    def _environment(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
        return {**ours, "LC_ALL": "C", "PGDATA": str(self._folder / "data")}


@contextlib.contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The URL of a new, empty database on the server; dropped at the end."""
    name = create_database(server_url)
    try:
        yield database_url(server_url, name)
    finally:
        drop_database(server_url, name)


@contextlib.contextmanager
def template_database(server_url: str, fill: Callable[[str], None]) -> Iterator[str]:
    """The name of a database that ``fill`` has filled, to copy others from."""
    with fresh_database(server_url) as url:
        fill(url)
        yield urlsplit(url).path.removeprefix("/")


def create_database(server_url: str, template: str = "template0") -> str:
    """The name of a new database, empty or as ``template`` is."""
    name = f"belaypin_{uuid.uuid4().hex[:12]}"
    make = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    with _admin(server_url) as admin:
        if admin.info.server_version >= 150_000:  # older ones know nothing else
            make += sql.SQL(" STRATEGY file_copy")
        admin.execute(make)
    return name


def drop_database(server_url: str, name: str) -> None:
    """Drop it, whoever is connected."""
    with _admin(server_url) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def database_url(server_url: str, name: str) -> str:
    """The URL of a database on the server."""
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


def _admin(server_url: str) -> psycopg.Connection:
    return psycopg.connect(server_url, autocommit=True)


def _children(pid: int) -> set[int]:
    numbers = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return {number for number in numbers if _parent(number) == pid}


def _parent(pid: int) -> int | None:
    """The parent of a process that lives, None of one that does not or is only to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[1])
