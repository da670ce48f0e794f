"""``belaypin status``: how it stands, for people and for cron."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import click

import belaypin
from belaypin.cli.call import Call, on_store, pages
from belaypin.cli.exits import NOT_SO
from belaypin.cli.targets import Target, takes_target, walk
from belaypin.cli.text import cell, path
from belaypin.filters import parse

__all__ = ["status_command"]

_PIPELINES = ("key", "status", "items", "skipped", "late", "gaps", "lag", "live_leases")
_ENTITIES = ("key", "status", "items", "failures", "quarantined", "gaps", "lag", "error")
_STREAMS = ("key", "status", "items", "failures", "quarantined", "gaps", "lag", "head")
_COUNTS = ("gaps", "failures", "quarantined", "failed", "interrupted")


@click.command("status")
@takes_target
@click.option(
    "--check",
    metavar="LIMITS",
    help='Exit 1 unless within these limits: "lag=15m gaps=0 failures=0 quarantined=0 failed=0 '
    'interrupted=0".',
)
@pages
@on_store("read")
def status_command(
    call: Call,
    store: belaypin.Store,
    *,
    target: Target,
    check: str | None,
    limit: int,
    after: str | None,
) -> int | None:
    """How it stands: every pipeline, one KEY, or the entities that a FILTER picks.

    A filter is such as 'state:failed lag>1h'; with stream:NAME in it, streams are listed.

    With --check it is what cron needs: exit 0 and no word if all is within the limits, else exit 1
    and a line for each one that is not. LIMITS are name=value: lag (the most that a stream is
    behind), gaps (holes in coverage), failures (items put aside), and quarantined, failed and
    interrupted (entities, or streams of an entity, in that state).
    """
    if check is not None:
        return _check(call, store, target, check)
    if target.key is not None:
        status = store.status(target.key)
        call.show.record(status, str(status))
    elif not target:
        found = [store.status(name) for name in store.pipelines()]
        call.show.rows(found, _PIPELINES, empty="There are no pipelines yet.")
    elif target.is_of_streams:
        call.show.listing(store.streams(target.where, limit=limit, after=after), _STREAMS)
    else:
        call.show.listing(store.entities(target.where, limit=limit, after=after), _ENTITIES)
    return None


def _check(call: Call, store: belaypin.Store, target: Target, check: str) -> int:
    limits = _limits(check)
    keys = [target.one_key("--check")] if target else list(map(belaypin.Key, store.pipelines()))
    told = [breach for key in keys for breach in _breaches(store, key, limits)]
    if not keys:
        told = [_breach(None, "present", 0, 1, "there are no pipelines")]
    lines = "\n".join(breach["text"] for breach in told)
    call.show.record({"ok": not told, "breaches": told}, lines if told else lambda: None)
    return NOT_SO if told else 0


def _breaches(
    store: belaypin.Store, key: belaypin.Key, limits: dict[str, timedelta | int]
) -> Iterator[dict[str, Any]]:
    status = store.status(key)
    if status.status == "absent":
        yield _breach(key, "present", 0, 1, f"{path(key)}: nothing is stored there")
        return
    found = _figures(store, status)
    for name, limit in limits.items():
        value = found[name]
        if value is not None and value > limit:
            text = f"{path(key)}: {name} is {cell(value)}, more than {cell(limit)}"
            yield _breach(key, name, value, limit, text)


def _breach(key: belaypin.Key | None, check: str, value: Any, limit: Any, text: str) -> Any:
    return {"key": key, "check": check, "value": value, "limit": limit, "text": text}


def _limits(text: str) -> dict[str, timedelta | int]:
    limits: dict[str, timedelta | int] = {}
    for word in text.replace(",", " ").split():
        name, _, value = word.partition("=")
        if name == "lag" and value:
            (term,) = parse(f"lag>{value}").terms
            limits[name] = timedelta(microseconds=term.number)
        elif name in _COUNTS and value.isdecimal():
            limits[name] = int(value)
        else:
            raise belaypin.UsageError(
                f"--check: {word!r} is no limit. Write lag=15m, or {'=0, '.join(_COUNTS)}=0."
            )
    if not limits:
        raise belaypin.UsageError('--check has no limits: write "lag=15m gaps=0".')
    return limits


def _figures(store: belaypin.Store, status: belaypin.Status) -> dict[str, Any]:
    words = status.entities or status.streams or {status.status: 1}
    return {
        "lag": status.lag,
        "gaps": status.gaps,
        "failures": _failures(store, status.key),
        **{word: words.get(word, 0) for word in ("quarantined", "failed", "interrupted")},
    }


def _failures(store: belaypin.Store, key: belaypin.Key) -> int:
    if key.depth == 1:
        health = store.health(pipeline=key.pipeline)
        return health.failures + health.quarantined
    rows = walk(store.streams, Target(key).filter)
    return sum(row.failures + row.quarantined for row in rows)
