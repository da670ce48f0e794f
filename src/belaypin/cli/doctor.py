"""``belaypin doctor``: what is wrong with a store and its surroundings, and what to do."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import click
import msgspec

import belaypin
from belaypin.cli.call import Call, shows
from belaypin.cli.exits import NO_STORE, NOT_SO
from belaypin.cli.text import length

__all__ = ["Check", "doctor_command"]

Verdict = Literal["ok", "warning", "error"]

_MARKS = {"ok": "ok", "warning": "WARN", "error": "FAIL"}
_SKEW = timedelta(seconds=2)
_LEAST_FREE = 0.05
_LAGGING_ROWS = 1_000


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: how it is, and what to do if it is not well."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@click.command("doctor")
@shows
def doctor_command(call: Call) -> int:
    """Look at the store, its database and this machine; say what is wrong and what to do.

    Exit 0 if there is no error (warnings may be), 1 if there is, 4 if the store can't be reached.
    """
    checks = [Check("settings", "ok", f"{call.hidden(call.store_url())} ({call.settings.source})")]
    code = 0
    try:
        checks.extend(_examined(call))  # those before an error stay
    except (belaypin.StoreUnavailable, belaypin.StoreBusy, belaypin.StoreFull) as error:
        checks.append(Check("database", "error", str(error), "Start it, or correct the URL."))
        code = NO_STORE
    except (belaypin.SchemaTooNew, belaypin.MissingDriver, belaypin.UsageError) as error:
        checks.append(Check("database", "error", str(error)))
    if not code and any(check.verdict == "error" for check in checks):
        code = NOT_SO
    data = {"ok": not code, "checks": [msgspec.to_builtins(check) for check in checks]}
    lines = (line for check in checks for line in _lines(check))
    call.show.record(data, call.hidden("\n".join(lines)))
    return code


def _examined(call: Call) -> Iterator[Check]:
    with call.store("read"):  # one that is not there, behind or ahead says so, and stays as it is
        yield Check("migrations", "ok", "none is missing")
    with call.store("write") as store:  # the database is asked for its settings
        for look in _LOOKS:
            yield from look(call, store)


def _lines(check: Check) -> Iterator[str]:
    yield f"{_MARKS[check.verdict]:<5} {check.name}: {check.found}"
    if check.verdict != "ok" and check.advice:
        yield f"      -> {check.advice}"


def _database(call: Call, store: belaypin.Store) -> Iterator[Check]:
    if not _is_sqlite(call):
        (version,) = store.execute("SELECT current_setting('server_version')").rows[0]
        yield Check("database", "ok", f"PostgreSQL {version}")
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            (value,) = store.execute("SELECT current_setting(%s)", (name,)).rows[0]
            yield Check(
                name,
                "warning" if value == "off" else "ok",
                str(value),
                f"With {name} = off a crash of the server may lose what was committed: turn it on.",
            )
        return
    version = sqlite3.sqlite_version
    journal = store.execute("PRAGMA journal_mode").rows[0][0]
    is_fixed = _wal_is_fixed(sqlite3.sqlite_version_info)
    yield Check(
        "database",
        "error" if journal == "wal" and not is_fixed else "ok",
        f"SQLite {version}, journal_mode {journal}"
        + ("" if is_fixed else " (its WAL can lose commits, so belaypin does not use it)"),
        "This version can lose commits in WAL mode: upgrade SQLite to 3.51.3 or newer.",
    )


def _wal_is_fixed(version: tuple[int, ...]) -> bool:
    """Whether this SQLite is none of those whose WAL mode can lose a committed transaction."""
    return version >= (3, 51, 3) or version in ((3, 44, 6), (3, 50, 7)) or version < (3, 7, 0)


def _clock(call: Call, store: belaypin.Store) -> Iterator[Check]:
    if _is_sqlite(call):
        return
    from belaypin.clock import SystemClock

    before_us = SystemClock().now_us()
    at = store.health().at
    after_us = SystemClock().now_us()
    there_us = round(at.timestamp() * 1_000_000)
    off_us = max(before_us - there_us, there_us - after_us, 0)
    skew = timedelta(microseconds=off_us)
    yield Check(
        "clock",
        "warning" if skew > _SKEW else "ok",
        f"{length(skew)} between this machine and the database",
        "Leases go by the database's clock, so no work is lost; but run NTP on both.",
    )


def _work(_: Call, store: belaypin.Store) -> Iterator[Check]:
    health = store.health()
    yield Check(
        "orphans",
        "warning" if health.orphans else "ok",
        f"{health.interrupted_windows} interrupted windows, "
        f"{health.abandoned_operations} abandoned operations",
        "`belaypin plan` lists them; the next run of your pipeline goes on with them.",
    )
    failures = len(store.failures(limit=_LAGGING_ROWS))
    yield Check(
        "failures",
        "warning" if failures else "ok",
        f"{failures}{' or more' if failures == _LAGGING_ROWS else ''} items are put aside",
        "`belaypin failures` lists them; `belaypin retry` or `belaypin skip` ends it.",
    )
    quarantined = store.plan(limit=1).quarantined
    yield Check(
        "quarantine",
        "warning" if quarantined else "ok",
        f"{quarantined} entities in quarantine",
        "`belaypin readmit KEY` lets one out, once what made it fail is mended.",
    )


def _disk(call: Call, _: belaypin.Store) -> Iterator[Check]:
    file = _file(call)
    if file is None or not file.exists():
        return
    usage = shutil.disk_usage(file.parent)
    free = usage.free / usage.total
    needed = usage.free < file.stat().st_size or free < _LEAST_FREE
    yield Check(
        "disk",
        "warning" if needed else "ok",
        f"{usage.free // 2**20} MiB free ({free:.0%}); the store has "
        f"{file.stat().st_size // 2**20} MiB",
        "`belaypin gc` and `belaypin compact --shrink` make room; the latter needs as much again.",
    )


def _cache(call: Call, _: belaypin.Store) -> Iterator[Check]:
    url = call.settings.cache
    if url is None:
        return
    try:
        import redis
    except ImportError:
        yield Check("cache", "warning", "redis is not installed", "pip install 'belaypin[redis]'")
        return
    try:
        with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            client.ping()
    except (redis.RedisError, ValueError, OSError) as error:
        yield Check("cache", "warning", str(error), "Answers are the same without, but slower.")
    else:
        yield Check("cache", "ok", url)


_LOOKS: tuple[Callable[[Call, belaypin.Store], Iterator[Check]], ...] = (
    _database,
    _clock,
    _work,
    _disk,
    _cache,
)


def _is_sqlite(call: Call) -> bool:
    return call.store_url().startswith("sqlite:")


def _file(call: Call) -> Path | None:
    url = call.store_url()
    return Path(unquote(url.removeprefix("sqlite:///"))) if _is_sqlite(call) else None
