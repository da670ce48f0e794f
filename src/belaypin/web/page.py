"""What a page is: an address, the parameters that are its state, what it reads, how it looks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request

from belaypin.clock import now_us
from belaypin.errors import UsageError
from belaypin.keys import Key
from belaypin.web.words import command_word, parts_of

if TYPE_CHECKING:
    import belaypin
    from belaypin.web.dashboard import Dashboard
    from belaypin.web.source import Sample

__all__ = ["Page", "Params", "View", "convert", "read_params"]

P = TypeVar("P", bound="Params")

LIMIT = 50
MAX_LIMIT = 500
THEMES = ("auto", "light", "dark")


class Params(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The parameters of an address: the whole state of a page."""


class Page(NamedTuple):
    """One page: ``build`` reads what its template shows."""

    path: str
    title: str
    template: str
    params: type[Params]
    build: Callable[[View, Any], Awaitable[dict[str, Any]]]
    nav: str | None = None
    """Its word in the navigation; None: it is reached from other pages."""


def read_params(kind: type[P], request: Request) -> P:
    """The parameters of an address; raises UsageError that names the one that won't do."""
    return convert(kind, dict(request.query_params.multi_items()))


def convert(kind: type[P], fields: dict[str, str]) -> P:
    """Texts as the parameters of a page; empty ones are left out. Raises UsageError."""
    for name in fields:
        if name not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__) or "none"
            raise UsageError(f"There is no parameter {name!r} here. Known: {known}.")
    given = {name: value for name, value in fields.items() if value != ""}
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        where = str(error).replace(" - at `$.", ": `").replace("`$.", "`")
        raise UsageError(f"A parameter won't do. {where}.") from error


class View:
    """What a page knows while it is built, and its template with it."""

    def __init__(self, request: Request, dashboard: Dashboard, params: Params) -> None:
        self.request = request
        self.dashboard = dashboard
        self.params = params
        self.now = datetime.fromtimestamp(now_us() / 1e6, UTC)
        self.page: Page | None = None
        self.pipelines: list[str] = []
        self._store: belaypin.AsyncStore | None = None

    @property
    def store(self) -> belaypin.AsyncStore:
        """The store; a page is only built once it is open."""
        assert self._store is not None
        return self._store

    def opened(self, store: belaypin.AsyncStore) -> None:
        """The store is there."""
        self._store = store

    async def sample(
        self, name: str, pipeline: str | None, read: Callable[[], Awaitable[Any]]
    ) -> Sample | None:
        """A figure that may take long, as it was read last."""
        return await self.dashboard.samples.get((name, pipeline), read)

    # --- addresses -------------------------------------------------------------------------------

    @property
    def root(self) -> str:
        """What stands before each of our addresses where the app is mounted."""
        root: str = self.request.scope.get("root_path", "")
        return root

    @property
    def path(self) -> str:
        """The address of this page, without the root and without parameters."""
        path: str = self.request.scope["path"]
        return path.removeprefix(self.root) or "/"

    def url(self, path: str, **params: Any) -> str:
        """An address of ours; what is None or empty is left out."""
        kept = {name: value for name, value in params.items() if value not in (None, "", False)}
        query = urlencode(kept, errors="replace")
        return f"{self.root}{path}" + (f"?{query}" if query else "")

    def here(self, **changes: Any) -> str:
        """This page with some of its parameters changed."""
        state = msgspec.structs.asdict(self.params)
        defaults = msgspec.structs.asdict(type(self.params)())
        state = {name: value for name, value in state.items() if value != defaults[name]}
        return self.url(self.path, **{**state, **changes})

    def key_url(self, key: Key, **params: Any) -> str:
        """Where an entity or a stream is shown; of a pipeline, the overview of it."""
        if key.depth == 1:
            return self.url("/", pipeline=key.pipeline)
        return self.url("/entity", **parts_of(key), **params)

    def static(self, name: str) -> str:
        """The address of a file that is shipped with us; it changes with the file."""
        return self.url(f"/static/{name}", v=self.dashboard.version_of(name))

    def command(self, *words: Any, **options: Any) -> str:
        """The command line that does the same."""
        found = ["belaypin", *(command_word(word) for word in words if word not in (None, ""))]
        for name, value in options.items():
            if value is True:
                found.append(f"--{name.replace('_', '-')}")
            elif value not in (None, "", False):
                found += [f"--{name.replace('_', '-')}", command_word(value)]
        return " ".join(found)

    @property
    def local(self) -> str:
        """This page's address as a form gives it back: without the root."""
        query = self.request.url.query
        return self.path + (f"?{query}" if query else "")

    @property
    def current(self) -> str:
        """This page's address, as it was asked for."""
        return self.root + self.local

    @property
    def pipeline(self) -> str | None:
        """The pipeline that the page is about, if it is about one."""
        return getattr(self.params, "pipeline", None)

    def param(self, name: str) -> str:
        """A parameter as text."""
        value = getattr(self.params, name, None)
        return "" if value is None else str(value)

    def state(self, without: tuple[str, ...] = ()) -> list[tuple[str, Any]]:
        """The parameters that are not as they are by default."""
        defaults = msgspec.structs.asdict(type(self.params)())
        state = msgspec.structs.asdict(self.params).items()
        return [(n, v) for n, v in state if n not in without and v != defaults[n]]

    def moved(self, stretch: tuple[datetime, datetime], factor: float, shift: float) -> list[str]:
        """A stretch of time that is longer by a factor, or moved by a part of its length."""
        begin, end = stretch
        length, middle = end - begin, begin + (end - begin) / 2
        try:
            ends = [middle + length * (shift + half * factor) for half in (-0.5, 0.5)]
        except OverflowError:  # to the years 1 and 9999
            ends = [begin, end]
        return [at.isoformat() for at in ends]

    @staticmethod
    def short_actor(actor: str) -> str:
        """Who acted: the machine and the process."""
        parts = actor.split("/")
        return f"{parts[0]} {parts[3].removeprefix('pid-')}" if len(parts) >= 5 else actor

    # --- the visitor -----------------------------------------------------------------------------

    @property
    def theme(self) -> str:
        """Light, dark, or what the visitor's system says."""
        theme = self.request.cookies.get("belaypin_theme", "auto")
        return theme if theme in THEMES else "auto"

    @property
    def csrf(self) -> str:
        """What our own forms carry and no other page can know."""
        session = self.request.scope["state"]["belaypin_session"]
        return self.dashboard.access.sign("csrf", session.id)

    @property
    def said(self) -> str | None:
        """What was done by the form that led here."""
        from belaypin.web.actions import flash

        return flash(self)

    @property
    def actions(self) -> bool:
        """Whether anything may be changed from here."""
        return self.dashboard.access.actions

    @property
    def person(self) -> str | None:
        """Who the proxy says the visitor is."""
        person: str | None = self.request.scope["state"].get("belaypin_person")
        return person

    @cached_property
    def is_in_by_token(self) -> bool:
        """Whether there is something to log out of."""
        is_in: bool = self.request.scope["state"]["belaypin_session"].is_in
        return is_in
