"""What the prepared store holds, and how commands are called on it."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

import belaypin
from belaypin.cli.text import path
from tests.cli.forks import Forks

BEGIN = datetime(2024, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)

HOSTILE = "a/b%\x1b[2J\n\u202eevil"
HOSTILE_KEY = belaypin.Key("shop", HOSTILE)
HOSTILE_PATH = path(HOSTILE_KEY)

PROGRAM = (sys.executable, "-P", "-m", "belaypin.cli")


def fill(url: str) -> None:
    """Seven users with posts; item 3 of each failed, item 5 lies in a gap; states; a savepoint."""
    with belaypin.open(url) as store:
        for number in range(1, 8):
            _mine(store, f"user:{number}")
        store.save(HOSTILE_KEY, {"pages": 3, "note": HOSTILE})
        store.save(HOSTILE_KEY, {"pages": 4, "note": HOSTILE})
        store.savepoint("social", "before")
        store.lease("shop", "held", ttl_s=3600).acquire()  # until the process ends
        with store.once("charge:7") as once:
            if once:
                once.result = {"paid": True}
        for number in range(3):
            store.send("mail", {"to": HOSTILE}, key=f"order:{number}")
        store.deliver("mail", _fails, max_messages=2, retry=belaypin.Retry(max_attempts=1))


def _fails(message: belaypin.Message) -> None:
    raise ConnectionError(f"no way to {message.payload['to']}")


def _mine(store: belaypin.Store, entity: str) -> None:
    posts = [{"id": n, "text": HOSTILE if n == 3 else "x"} for n in range(10)]
    with store.lease("social", entity) as user:
        with user.changed("profile", {"name": entity}):
            pass
        for since, until in ((BEGIN, BEGIN + DAY), (BEGIN + 2 * DAY, BEGIN + 3 * DAY)):
            for window in user.windows("posts", since=since, until=until):
                for page in window.pages(lambda _: (posts, None)):
                    with page.commit() as tx:
                        for post in tx.fresh(page.items, key="id"):
                            with tx.attempt(post):
                                if post["id"] == 3:
                                    raise ValueError(post["text"])


def call(
    *words: str,
    store: str | None = None,
    env: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user's shell does; ``store`` goes by the environment."""
    return subprocess.run(
        [*PROGRAM, *words],
        env={**_ours(), **_given(store), **(env or {})},
        input="",
        capture_output=True,
        encoding=encoding,
        timeout=60,
        check=False,
    )


def fork(*words: str, store: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that has belaypin imported already: quicker."""
    return _forks().call(*words, env=_given(store))


def answer(*words: str, store: str | None = None, code: int = 0) -> Any:
    """What a command answers with ``--json``."""
    done = fork(*words, "--json", store=store)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@cache
def _forks() -> Forks:
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(_ours()):
            patch.delenv(name)
        forks = Forks()
    atexit.register(forks.close)
    return forks


def _ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BELAYPIN_")}


def _given(store: str | None) -> dict[str, str]:
    return {"COLUMNS": "80", **({} if store is None else {"BELAYPIN_STORE": store})}
