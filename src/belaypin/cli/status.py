"""``belaypin status``: how it stands, for people and for cron."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

import belaypin
from belaypin.cli.call import KEY, Call, on_store
from belaypin.cli.exits import NOT_SO
from belaypin.cli.text import cell, path

__all__ = ["status_command"]

_COUNTS = ("gaps", "failures", "quarantined", "failed", "interrupted")


@click.command("status")
@click.argument("key", type=KEY)
@click.option(
    "--check",
    metavar="LIMITS",
    help='Exit 1 unless within these limits: "lag=15m gaps=0 failures=0 quarantined=0 failed=0 '
    'interrupted=0".',
)
@on_store("read")
def status_command(
    call: Call, store: belaypin.Store, key: belaypin.Key, check: str | None
) -> int | None:
    """How a pipeline, an entity or a stream stands.

    With --check it is what cron needs: exit 0 and no word if all is within the limits, else exit 1
    and a line for each one that is not. LIMITS are name=value: lag (the most that a stream is
    behind), gaps (holes in coverage), failures (items put aside), and quarantined, failed and
    interrupted (entities, or streams of an entity, in that state).
    """
    status = store.status(key)
    if check is None:
        call.show.record(status, str(status))
        return None
    limits = _limits(check)
    found = _figures(store, status)
    breaches = [_breach(name, found[name], limit) for name, limit in limits.items()]
    told = [breach for breach in breaches if breach is not None]
    ok = not told and status.status != "absent"
    if status.status == "absent":
        told.append({"check": "present", "value": 0, "limit": 1, "text": "nothing is stored there"})
    lines = "\n".join(f"{path(key)}: {breach['text']}" for breach in told)
    call.show.record({"ok": ok, "key": key, "breaches": told}, lines if told else lambda: None)
    return 0 if ok else NOT_SO


def _limits(text: str) -> dict[str, timedelta | int]:
    limits: dict[str, timedelta | int] = {}
    for word in text.replace(",", " ").split():
        name, _, value = word.partition("=")
        if name == "lag" and value:
            limits[name] = timedelta(microseconds=duration_us(value))
        elif name in _COUNTS and value.isdecimal():
            limits[name] = int(value)
        else:
            raise belaypin.UsageError(
                f"--check: {word!r} is no limit. Write lag=15m, or {'=0, '.join(_COUNTS)}=0."
            )
    if not limits:
        raise belaypin.UsageError('--check has no limits: write "lag=15m gaps=0".')
    return limits


def duration_us(text: str) -> int:
    """A length of time on the command line, in microseconds."""
    from belaypin.times import duration_us as read

    return read(text, "lag")


def _figures(store: belaypin.Store, status: belaypin.Status) -> dict[str, Any]:
    words = status.entities or status.streams or {status.status: 1}
    parts = (*status.key.parts, None, None)
    return {
        "lag": status.lag,
        "gaps": status.gaps,
        "failures": len(store.failures(*parts[:3], limit=_FAILURES)),
        **{word: words.get(word, 0) for word in ("quarantined", "failed", "interrupted")},
    }


_FAILURES = 10_000


def _breach(name: str, value: Any, limit: timedelta | int) -> dict[str, Any] | None:
    if value is None or value <= limit:
        return None
    text = f"{name} is {cell(value)}, more than {cell(limit)}"
    return {"check": name, "value": value, "limit": limit, "text": text}
