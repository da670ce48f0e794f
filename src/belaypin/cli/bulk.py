"""One act on many keys: what it would do is shown and counted, then asked, then done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec

import belaypin
from belaypin.cli.call import Call, Sure
from belaypin.cli.exits import NOT_SO
from belaypin.cli.show import jsonable
from belaypin.cli.targets import Target, walk
from belaypin.cli.text import path

__all__ = ["Act", "Done", "act_on", "keys_of"]

_SHOWN = 20
_LISTED = 1_000

Act = Callable[..., Any]
"""``act(key, dry_run=...)`` does it to one key, and returns what was (or would be) done."""

_STORE_ERRORS = (belaypin.StoreUnavailable, belaypin.StoreBusy, belaypin.StoreFull)


class Done(msgspec.Struct, frozen=True):
    """What became of one key: the result, or why not."""

    key: belaypin.Key
    result: Any = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {"key": jsonable(self.key), "result": jsonable(self.result), "error": self.error}

    def __str__(self) -> str:
        """Return it for people."""
        if self.error is not None:
            return f"{path(self.key)}: not done: {self.error}"
        return f"{path(self.key)}" if self.result is None else str(self.result)


def keys_of(store: belaypin.Store, target: Target) -> Iterator[belaypin.Key]:
    """The keys that are meant: one, or the entities (or streams) that a filter picks."""
    if not target:
        raise belaypin.UsageError(
            "Say of what: a key such as social/user:7, or a filter such as 'state:failed'. For all "
            "of a pipeline: its name."
        )
    if target.key is not None:
        if store.status(target.key).status == "absent":
            raise belaypin.UsageError(
                f"Nothing is stored at {path(target.key)}. If you meant a filter: it has fields, "
                f"such as entity:user* or state:failed."
            )
        yield target.key
        return
    rows = walk(store.streams if target.is_of_streams else store.entities, target.where)
    yield from (row.key for row in rows)


def act_on(
    call: Call,
    store: belaypin.Store,
    target: Target,
    verb: str,
    act: Act,
    sure: Sure,
    *,
    keys: list[belaypin.Key] | None = None,
) -> int | None:
    """Show, ask, do. One key that can't be done does not keep the others from it.

    ``keys``: those that are meant, if they are not what the target picks.
    """
    keys = list(keys_of(store, target)) if keys is None else keys
    noun = "keys" if target.key is not None else "streams" if target.is_of_streams else "entities"
    count = str(target) if target.key is not None else f"{len(keys)} {noun} ({target})"
    tried = [_try(act, key, dry_run=True) for key in islice(keys, _SHOWN)]
    text = "\n".join([f"would {verb} {count}", *map(str, tried)])
    text += f"\nand {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    preview = _report(len(keys), tried, dry_run=True)
    if not sure(preview, text, f"{verb.capitalize()} {count}?"):
        return None
    done = [_try(act, key, dry_run=False) for key in keys]
    failed = [each for each in done if each.error is not None]
    shown = [*failed, *(each for each in done if each.error is None)][:_SHOWN]
    more = [f"and {len(done) - _SHOWN} more"] if len(done) > _SHOWN else []
    summary = f"{verb}: {len(done) - len(failed)} done, {len(failed)} not"
    text = "\n".join([*map(str, shown), *more, *([summary] if len(done) != 1 else [])])
    call.show.record(_report(len(keys), done, dry_run=False), text)
    return NOT_SO if failed else None


def _try(act: Act, key: belaypin.Key, *, dry_run: bool) -> Done:
    try:
        return Done(key, act(key, dry_run=dry_run))
    except _STORE_ERRORS:
        raise
    except belaypin.BelaypinError as error:
        return Done(key, error=str(error))


def _report(keys: int, done: list[Done], *, dry_run: bool) -> dict[str, Any]:
    failed = sum(each.error is not None for each in done)
    return {"dry_run": dry_run, "keys": keys, "failed": failed, "results": done[:_LISTED]}
