"""What commands have in common: their options, the store they work on, and being asked first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal

import click

import belaypin
from belaypin.cli.exits import NOT_SO
from belaypin.cli.redact import Secrets
from belaypin.cli.settings import Settings, resolve
from belaypin.cli.show import Format, Show
from belaypin.cli.text import parse_key, shown_lines

__all__ = [
    "ITEM",
    "KEY",
    "TIME",
    "Access",
    "Call",
    "Sure",
    "asks_first",
    "item_of",
    "on_store",
    "pages",
    "shows",
]

Access = Literal["read", "write", "create"]
"""What a command does to a store; only ``create`` makes one that is not there."""


class Call:
    """One call of a command: where it answers, and which store it is about."""

    def __init__(self, show: Show, settings: Settings, secrets: Secrets) -> None:
        self.show = show
        self.settings = settings
        self._secrets = secrets

    def store_url(self, preferred: str | None = None) -> str:
        """The URL of the store; its password is hidden from now on.

        ``preferred``: what a pipeline says of itself. The command line and the environment have the
        last word, settings in a file do not.
        """
        url = self.settings.url(preferred)
        self._secrets.learn(url)
        self._secrets.learn(self.settings.cache or "")
        return url

    @contextmanager
    def store(self, access: Access) -> Iterator[belaypin.Store]:
        """The store of this call, open as long as the block runs."""
        with belaypin.open(
            self.store_url(),
            cache=self.settings.cache,
            create=access == "create",
            read_only=access == "read",
        ) as store:
            yield store

    def hidden(self, text: str) -> str:
        """The text without passwords."""
        return self._secrets.hidden(text)


def shows(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of every answer; it is called with its `Call` first."""

    @click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document.")
    @click.option("--jsonl", "as_jsonl", is_flag=True, help="Answer with JSON, a row on each line.")
    @click.option(
        "-v", "--verbose", is_flag=True, help="Say which store is used, and why that one."
    )
    @click.option("--store", "url", metavar="URL", help="The store. Default: see BELAYPIN_STORE.")
    @wraps(function)
    def command(
        *, url: str | None, as_json: bool, as_jsonl: bool, verbose: bool, **given: Any
    ) -> Any:
        form: Format = "json" if as_json else "jsonl" if as_jsonl else "text"
        secrets = click.get_current_context().find_root().obj or Secrets()
        call = Call(Show(form), resolve(url), secrets)
        if verbose:
            where = f"Store: {call.settings.store} (from {call.settings.source})"
            secrets.learn(call.settings.store or "")
            click.echo(shown_lines(call.hidden(where)), err=True)
        return function(call, **given)

    return command


def on_store(access: Access) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command its store behind its `Call`, and the options of `shows`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def opened(call: Call, **given: Any) -> Any:
            with call.store(access) as store:
                return function(call, store, **given)

        return shows(opened)

    return decorate


def pages(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a listing ``--limit`` and ``--after``."""
    with_after = click.option("--after", metavar="NEXT", help="Go on where the last page ended.")
    with_limit = click.option(
        "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Rows at most."
    )
    return with_limit(with_after(function))


def asks_first(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a destructive command ``--dry-run`` and ``--yes``, and ``sure``, which is asked with them.

    ``sure(preview, question)`` shows what would be done; it is true if it is to be done.
    """

    @click.option("-n", "--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
    @click.option("-y", "--yes", is_flag=True, help="Do it without asking.")
    @wraps(function)
    def command(call: Call, *given: Any, dry_run: bool, yes: bool, **named: Any) -> Any:
        sure = Sure(call.show, dry_run=dry_run, yes=yes)
        code = function(call, *given, sure=sure, **named)
        return sure.code if sure.code is not None else code

    return command


class Sure:
    """Shows what an act would do, and asks whether to do it."""

    def __init__(self, show: Show, *, dry_run: bool, yes: bool) -> None:
        self._show = show
        self._dry_run = dry_run
        self._yes = yes
        self.code: int | None = None

    def __call__(self, preview: Any, text: str, question: str) -> bool:
        if self._dry_run:
            self._show.record(preview, text)
            self._show.note("Nothing was done: this was a dry run.")
            return False
        if self._yes:
            return True
        if not sys.stdin.isatty():
            raise belaypin.UsageError(
                f"{question} There is nobody to ask: look with --dry-run, then say --yes."
            )
        click.echo(shown_lines(text), err=True)
        if click.confirm(shown_lines(question), err=True):
            return True
        click.echo("Nothing was done.", err=True)
        self.code = NOT_SO
        return False


if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType


class _KeyType(_Type):
    name = "key"

    def convert(self, value: Any, param: Any, ctx: Any) -> belaypin.Key:
        if isinstance(value, belaypin.Key):
            return value
        return parse_key(value)


class _ItemType(_Type):
    """An item's id: a number if it looks like one, text if it stands in double quotes or does not."""

    name = "item"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | int:
        return item_of(value) if isinstance(value, str) else value


class _TimeType(_Type):
    """An aware time: ISO 8601 with an offset or Z; a bare date is midnight UTC."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: write 2024-05-01 or 2024-05-01T12:00:00Z", param, ctx)
        if time.tzinfo is None and len(value) <= len("2024-05-01"):
            return time.replace(tzinfo=UTC)
        if time.tzinfo is None:
            self.fail(f"{value!r} has no offset: write {value}Z if you mean UTC", param, ctx)
        return time


KEY = _KeyType()
ITEM = _ItemType()
TIME = _TimeType()


def item_of(text: str) -> str | int:
    """The id that is meant: ``7`` is the number, ``"7"`` the text.

    >>> item_of("7"), item_of('"7"'), item_of("abc"), item_of("007")
    (7, '7', 'abc', '007')
    """
    if len(text) > 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    is_number = text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) < 20
    return int(text) if is_number and str(int(text)) == text else text
