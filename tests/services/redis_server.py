"""A Redis server of our own, on a private socket, that keeps nothing."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import NamedTuple

import redis

from tests.services.keeper import Keeper
from tests.services.programs import Programs
from tests.services.user import as_user, make_folder

__all__ = ["GivenRedis", "Redis"]

START_S = 30.0


class GivenRedis(NamedTuple):
    """A server from the environment, which we may flush."""

    url: str
    origin: str
    name: str = "Redis"


class Redis:
    """A server in memory that tests may kill and start again."""

    def __init__(self, programs: Programs, keeper: Keeper) -> None:
        names = ("redis-server", "valkey-server")
        self._program = next(programs.folder / n for n in names if (programs.folder / n).exists())
        self._keeper = keeper
        self._folder = make_folder(keeper)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._folder / 'socket'}"
        self.start()
        with redis.Redis.from_url(self.url) as client:
            info = client.info("server")
        valkey = info.get("valkey_version")
        self.name = f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"
        self.origin = f"{programs.origin}, on a private socket"

    def start(self) -> None:
        """Start the server, unless it runs; return once it answers."""
        if self._process is not None:
            return
        options = ["--port", "0", "--unixsocket", str(self._folder / "socket"), "--save", ""]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *options],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_user(),
            )
        self._keeper.keep(self._process, signal.SIGTERM)
        self._wait_for_answer()

    def kill9(self) -> None:
        """SIGKILL the server; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._keeper.forget(self._process)
            self._process = None

    def close(self) -> None:
        """The end; nothing of it needs saving."""
        self.kill9()

    def _wait_for_answer(self) -> None:
        patience = time.monotonic() + START_S
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError as error:
                    assert self._process is not None
                    if self._process.poll() is not None or time.monotonic() > patience:
                        log = (self._folder / "log").read_text(errors="replace")
                        raise RuntimeError(f"Redis does not start:\n{log[-2000:]}") from error
                    time.sleep(0.01)
