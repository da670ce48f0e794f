"""Write docs/reference from the code: docstrings, signatures, errors, limits, metrics, commands.

    python tools/generate_reference.py            # write what changed
    python tools/generate_reference.py --check    # change nothing; exit 1 with a diff if stale

``surface.txt`` is the public surface, one name a line: a test compares it with the code, so that
a name or a signature never changes unseen.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_overloads

import msgspec

if __name__ == "__main__":  # what is written must come from this tree, whatever is installed
    sys.path[:0] = [str(Path(__file__).resolve().parent.parent / part) for part in ("src", "")]

import belaypin
from belaypin import errors, metrics
from belaypin.cli import EXIT_CODES
from belaypin.cli import main as cli
from tools import cli_schemas, web_reference

__all__ = ["main", "pages", "surface"]

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
WIDTH = 88
WRITTEN_BY = "<!-- Written by tools/generate_reference.py; do not edit. -->"

ALIASES = {
    "At": 'A field name, a dotted path (`"meta.created_at"`), or a callable from an item to an '
    "aware datetime or to ISO 8601 text with an offset.",
    "Duration": 'Text such as `"30d"`, `"1h30m"` or `"500ms"` (units w d h m s ms us), a '
    "`timedelta`, or a number of seconds.",
    "Fetch": "A callable from a cursor to `(items, next_cursor)`. With an async store it may be "
    "async. With `items=` it returns a JSON document, or a response that has `.json()`.",
    "KeyLike": "A `belaypin.Key`, a pipeline's name, or a tuple of 1 to 3 texts.",
    "Params": "The parameters of your statement in your driver's own style: `?` or `:name` on "
    "SQLite, `%s` or `%(name)s` on PostgreSQL.",
    "Revision": "A number, an aware `datetime`, or ISO 8601 text with an offset; a later revision is "
    "larger.",
    "RevisionOf": "A field name, a dotted path, or a callable from an item to its `Revision`.",
}


LIMITS = """
One part of a key | keys.MAX_PART_BYTES | bytes | `UsageError`
An item id | ids.MAX_ID_BYTES | bytes | `UsageError`
An integer id, least | ids._MIN_INT | | `UsageError`: use its text
An integer id, greatest | ids._MAX_INT | | `UsageError`: use its text
An integer in fingerprinted content | fingerprint._MAX_INT | | `UsageError`: use its text
A state or result, as JSON | codec.MAX_RAW_BYTES | bytes | `UsageError`
A cursor, as JSON | fetched._MAX_CURSOR_BYTES | bytes | `FetchError`
The shortest `ttl_s` of a lease | _sync.store._MIN_TTL_US | us | `UsageError`
Renewals in each `ttl_s` | heartbeat.BEATS_PER_TTL | |
Ids of one stream in memory (`ledger_items`) | membership.LIMIT_ITEMS | | read again on need
States kept of each key when others replace them (`history`) | schema.KEPT_VERSIONS | | the oldest are pruned
Ids in one ledger segment | segments.BLOCK_ITEMS | | several segments
Ledger segments of one level | programs.ledger.FAN_OUT | | they merge
Pages without news whose cursor may wait | programs.courses._LEFT_TO_LATER | | it is written
States in one commit of a writer | writing.core._BATCH_ITEMS | | another commit
Draining on SIGTERM | writing.exits._SIGTERM_DEADLINE_S | s | the report says what is pending
The stored error of a failed operation | mishaps.MAX_ERROR_CHARS | characters | it is cut
The stored traceback of a failed attempt | mishaps.MAX_TRACEBACK_CHARS | characters | its end is kept
Attempts kept of one operation | programs.operations.KEPT_ATTEMPTS | | the newest are kept
Facts in the cache of a process | cache.FACTS | | the one not used for longest is forgotten
A fact in Redis | cache.TTL_S | s | it is learned again
Waiting for Redis in one check, and 20 us for each id | cache.WAIT_S | s | the database answers
Leaving a Redis alone that failed | cache.PAUSE_S | s | it is tried in the background
SQLite: waiting for another writer | backends.sqlite.BUSY_TIMEOUT_S | s | `StoreBusy`
PostgreSQL: waiting for a locked row | backends.postgres.LOCK_TIMEOUT_S | s | `StoreBusy`
SQLite with asyncio: threads | backends.threaded._THREADS | | calls wait
PostgreSQL: connections of one store | backends._sync.postgres._POOL_CONNECTIONS | | calls wait
PostgreSQL: waiting for a connection | backends._sync.postgres._CONNECT_TIMEOUT_S | s | `StoreUnavailable`
"""
"""What is limited, the constant that says so, its unit, and what happens beyond it."""


# --- the public surface -------------------------------------------------------------------------


class Member(NamedTuple):
    """Something that a public class shows: ``kind`` is method, attribute or property."""

    name: str
    kind: str
    signatures: tuple[str, ...]
    doc: str
    how: str
    """How the async side differs: "await", "async for", or nothing."""


def surface() -> str:
    """Every public name with its signature, a line each, sorted."""
    lines = [f"belaypin.{name}{_signatures(thing)[0]}" for name, thing in _functions()]
    lines += [f"belaypin.{name}" for name in errors.__all__]
    for name, cls in _classes(with_async=True):
        lines.append(f"belaypin.{name}")
        for member in _members(cls):
            how = f" [{member.how}]" if member.how else ""
            lines += [f"belaypin.{name}.{member.name}{s}{how}" for s in member.signatures]
    return "\n".join(sorted(lines)) + "\n"


def _functions() -> list[tuple[str, Callable[..., Any]]]:
    named = ((name, getattr(belaypin, name)) for name in sorted(belaypin.__all__))
    return [(name, thing) for name, thing in named if inspect.isfunction(thing)]


def _classes(*, with_async: bool = False) -> list[tuple[str, type]]:
    named = ((name, getattr(belaypin, name)) for name in sorted(belaypin.__all__))
    return [
        (name, thing)
        for name, thing in named
        if inspect.isclass(thing)
        and name not in errors.__all__
        and (with_async or not name.startswith("Async"))
    ]


def _members(cls: type) -> list[Member]:
    """All that a user may call or read, inherited or its own, sorted by name."""
    found = {m.name: m for m in _attributes(cls)}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("belaypin"):
            own = (_member(name, thing) for name, thing in vars(base).items() if name[0] != "_")
            found.update((m.name, m) for m in own if m is not None)
    return sorted(found.values())


def _member(name: str, thing: Any) -> Member | None:
    if isinstance(thing, property):
        assert thing.fget is not None
        returns = thing.fget.__annotations__.get("return", "Any")
        return Member(name, "property", (f": {returns}",), inspect.getdoc(thing) or "", "")
    called = thing.__func__ if isinstance(thing, (classmethod, staticmethod)) else thing
    if not inspect.isfunction(called):
        return None
    how = "async for" if inspect.isasyncgenfunction(called) else ""
    how = "await" if inspect.iscoroutinefunction(called) else how
    signatures = tuple(_signatures(called))
    return Member(name, "method", signatures, inspect.getdoc(called) or "", how)


def _attributes(cls: type) -> Iterator[Member]:
    """Fields of a Struct, and what ``__init__`` assigns to public names, with their docstrings."""
    if issubclass(cls, msgspec.Struct):
        for field in cls.__struct_fields__:
            yield Member(field, "attribute", (f": {cls.__annotations__[field]}",), "", "")
        return
    if "__init__" not in vars(cls):
        return
    (init,) = ast.parse(textwrap.dedent(inspect.getsource(vars(cls)["__init__"]))).body
    assert isinstance(init, ast.FunctionDef)
    types = {a.arg: ast.unparse(a.annotation) for a in init.args.args if a.annotation}
    for statement, following in zip(init.body, [*init.body[1:], None], strict=True):
        if (named := _assigned(statement, types)) is not None:
            yield Member(named[0], "attribute", (f": {named[1]}",), _text_of(following), "")


def _assigned(statement: ast.stmt, types: dict[str, str]) -> tuple[str, str] | None:
    """The public attribute that a statement of ``__init__`` sets, and its type."""
    target: ast.expr
    if isinstance(statement, ast.AnnAssign):
        target, type_ = statement.target, ast.unparse(statement.annotation)
    elif isinstance(statement, ast.Assign):
        (target,), value = statement.targets, statement.value
        literal = type(value.value).__name__ if isinstance(value, ast.Constant) else ""
        named = types.get(value.id) if isinstance(value, ast.Name) else None
        type_ = named or ("bool" if isinstance(value, ast.Compare) else literal)
    else:
        return None
    if not isinstance(target, ast.Attribute) or target.attr.startswith("_"):
        return None
    return target.attr, type_


def _text_of(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return inspect.cleandoc(str(statement.value.value))
    return ""


def _signatures(function: Callable[..., Any]) -> list[str]:
    return [_signature(variant) for variant in get_overloads(function) or [function]]


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parts: list[str] = []
    is_starred = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_starred:
            parts.append("*")
            is_starred = True
        if parameter.name not in ("self", "cls"):
            parts.append(_parameter(parameter))
    return f"({', '.join(parts)}) -> {_annotation(signature.return_annotation)}"


def _parameter(parameter: inspect.Parameter) -> str:
    text = f"{parameter.name}: {_annotation(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return text
    default = parameter.default
    shown = f"{default:_}" if type(default) is int and default >= 10_000 else repr(default)
    return f"{text} = {default.__name__ if isinstance(default, type) else shown}"


def _annotation(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "Any")


# --- pages --------------------------------------------------------------------------------------


def pages() -> dict[Path, str]:
    """Each generated file with its whole text."""
    return {
        FOLDER / "api.md": _api_page(),
        FOLDER / "cli.md": _cli_page(),
        FOLDER / "dashboard.md": _page("Dashboard and JSON API", *web_reference.parts()),
        FOLDER / "errors.md": _errors_page(),
        FOLDER / "limits.md": _limits_page(),
        FOLDER / "metrics.md": _metrics_page(),
        FOLDER / "surface.txt": surface(),
        **{FOLDER / "json" / f"{name}.json": text for name, text in _schema_files()},
    }


def _page(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", WRITTEN_BY, *parts)) + "\n"


def _api_page() -> str:
    sections = [_function_section(name, thing) for name, thing in _functions()]
    sections += [_class_section(name, cls) for name, cls in _classes()]
    aliases = "\n".join(f"| `{name}` | {text} |" for name, text in sorted(ALIASES.items()))
    names = [name for name, _ in (*_functions(), *_classes())]
    return _page(
        "API reference",
        "Everything here is in the package `belaypin`. Each class has a twin for asyncio whose "
        "name begins with `Async` (`AsyncStore`, ...) and whose members have the same names; "
        "*await*, *async with* and *async for* beside a name say how it is used there. "
        "`store.close()` is `store.aclose()`. Errors have [a page of their own](errors.md).",
        ", ".join(f"[{name}](#belaypin{name.lower()})" for name in names) + ".",
        "Some types have a name in the signatures:",
        f"| name | means |\n|---|---|\n{aliases}",
        *sections,
    )


def _function_section(name: str, function: Callable[..., Any]) -> str:
    how = "\n\n*await*" if inspect.iscoroutinefunction(function) else ""
    heading = f"## `belaypin.{name}`"
    return f"{heading}\n\n{_code(f'{name}{_signature(function)}')}{how}\n\n{_doc(function)}"


def _class_section(name: str, cls: type) -> str:
    twin = getattr(belaypin, f"Async{name}", None)
    how = {m.name.replace("aclose", "close"): m.how for m in _members(twin)} if twin else {}
    parts = [f"## `belaypin.{name}`", _doc(cls)]
    if hasattr(twin, "__aenter__"):
        parts.append("Used in a `with` block; *async with* on the async side.")
    members = _members(cls)
    fields = [m for m in members if m.kind != "method"]
    if fields:
        parts.append("\n".join(map(_field_line, fields)))
    elsewhere = _elsewhere(cls)
    parts += [f"And, as in `belaypin.{home}`: {names}." for home, names in _grouped(elsewhere)]
    for member in members:
        if member.kind == "method" and member.name not in elsewhere:
            calls = "\n".join(f"{member.name}{signature}" for signature in member.signatures)
            aside = how.get(member.name, "")
            parts.append(f"### `{name}.{member.name}`" + (f" (*{aside}*)" if aside else ""))
            parts += [_code(calls), _markdown(member.doc)]
    return "\n\n".join(parts)


def _elsewhere(cls: type) -> dict[str, str]:
    """Methods that the class shares with another public one, where they are described."""
    if cls is belaypin.Store:
        return {}
    homes = [("Store", belaypin.Store), *((b.__name__, b) for b in cls.__mro__[1:])]
    shown = [(name, home) for name, home in homes if name in belaypin.__all__ and home is not cls]
    methods = {m.name: getattr(cls, m.name) for m in _members(cls) if m.kind == "method"}
    return {
        name: home_name
        for name, method in methods.items()
        for home_name, home in shown
        if getattr(home, name, None) is method
    }


def _grouped(homes: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (home, ", ".join(f"`{name}`" for name in sorted(homes) if homes[name] == home))
        for home in sorted(set(homes.values()))
    ]


def _field_line(field: Member) -> str:
    doc = " ".join(_markdown(field.doc).split())
    return f"- `{field.name}{field.signatures[0]}`" + (f" -- {doc}" if doc else "")


def _doc(thing: Any) -> str:
    return _markdown(inspect.getdoc(thing) or "")


def _markdown(doc: str) -> str:
    """A docstring as Markdown: its examples in fences, its double backticks single."""
    parts = []
    for part in doc.split("\n\n"):
        text = part.strip()
        parts.append(_fence("pycon", text) if text.startswith(">>>") else text.replace("``", "`"))
    return "\n\n".join(parts)


def _code(calls: str) -> str:
    """Signatures, those that are long with a line for each parameter."""
    return _fence(
        "text", "\n".join(c if len(c) <= WIDTH else _spread(c) for c in calls.split("\n"))
    )


def _spread(call: str) -> str:
    name, _, rest = call.partition("(")
    inner, _, returns = rest.rpartition(") -> ")
    # A comma that separates parameters has a name, or a star, behind it.
    parameters = re.sub(r", (?=\*|\w+: )", ",\n    ", inner)
    return f"{name}(\n    {parameters},\n) -> {returns}"


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _errors_page() -> str:
    rows = (f"| [{name}](#{name.lower()}) | {_advice(name)[0]} |" for name in errors.__all__)
    return _page(
        "Errors",
        "Each error is named for the situation, and says what to do next: its message names what "
        "happened, to what, and the way out. All derive from `belaypin.BelaypinError`. An error "
        "of the database's driver does not come through as such: it is the `__cause__` of ours.",
        "| error | what to do |\n|---|---|\n" + "\n".join(rows),
        *map(_error_section, errors.__all__),
    )


def _advice(name: str) -> tuple[str, str]:
    """What to do about an error, and the rest of its docstring."""
    doc = _markdown(inspect.getdoc(getattr(errors, name)) or "")
    do, colon, rest = doc.partition(":")
    return (do, rest) if colon else (doc.rstrip("."), "")


def _error_section(name: str) -> str:
    do, rest = _advice(name)
    bases = [base.__name__ for base in getattr(errors, name).__bases__]
    parts = [f"## {name}", f"**{do}{':' if rest else '.'}**{rest}"]
    parts += [
        f"It is a kind of `{base}` too."
        for base in bases
        if base not in ("BelaypinError", "Exception")
    ]
    where = [f"`{place}`" for place, doc in _documented() if re.search(rf"\b{name}\b", doc)]
    parts += [f"Named by {', '.join(where)}."] if where else []
    return "\n\n".join(parts)


def _documented() -> Iterator[tuple[str, str]]:
    for name, function in _functions():
        yield name, inspect.getdoc(function) or ""
    for name, cls in _classes():
        yield name, inspect.getdoc(cls) or ""
        for member in _members(cls):
            yield f"{name}.{member.name}", member.doc


def _limits_page() -> str:
    limits = ([cell.strip() for cell in line.split("|")] for line in LIMITS.strip().splitlines())
    rows = (f"| {what} | {_value(name, unit)} | {beyond} |" for what, name, unit, beyond in limits)
    return _page(
        "Limits",
        "Everything has a limit, and says so when it is met. Times lie in the years 1 to 9999, in "
        "microseconds. There is no limit on the items of a stream, or on the keys of a store.",
        "| what | limit | beyond it |\n|---|---|---|\n" + "\n".join(rows),
    )


def _metrics_page() -> str:
    rows = []
    for metric in (*metrics.OWN_METRICS, *metrics.METRICS):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return _page(
        "Metrics",
        "What [`belaypin.metrics`](../how-to/export-metrics.md) exports. Names and units are after "
        "Prometheus's conventions; [Health, by formula](../explanation/health.md) has the formulas. "
        "Figures that are not known, such as the lag of a pipeline that covers nothing, are left out.",
        "| metric | kind | labels | |\n|---|---|---|---|\n" + "\n".join(rows),
    )


def _value(constant: str, unit: str) -> str:
    module, _, name = constant.rpartition(".")
    value = getattr(import_module(f"belaypin.{module}"), name)
    if unit == "us":
        return f"{value / 1_000_000:g} s"
    if unit == "bytes" and value >= 2**20:
        return f"{value // 2**20} MiB"
    shown = f"{value:g}" if isinstance(value, float) else f"{value:,}"
    return f"{shown} {unit}".strip()


def _cli_page() -> str:
    context = cli.make_context("belaypin", [], resilient_parsing=True, max_content_width=WIDTH)
    sections = [_fence("text", cli.get_help(context).rstrip())]
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    sections += ["## Exit codes", f"| code | means |\n|---|---|\n{codes}"]
    sections += ["## Environment", _ENVIRONMENT]
    schemas = cli_schemas.schemas()
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        inner = command.make_context(name, [], context, resilient_parsing=True)
        sections.append(f"## belaypin {name}\n\n{_fence('text', command.get_help(inner).rstrip())}")
        if name in schemas:
            sections.append(f"JSON: [schema](json/{name}.json).")
    return _page("Command line", _CLI_ABOUT, *sections)


_CLI_ABOUT = """\
What `--help` says of each command. `--json` answers with one document, whose schema is linked; `--jsonl`
with a row on each line. On a terminal lists are tables, in a pipe aligned text. An error is text on the
standard error or, with `--json`, an object by [this schema](json/error.json)."""

_ENVIRONMENT = """\
| variable | means |
|---|---|
| `BELAYPIN_STORE` | the store's URL, if there is no `--store` |
| `BELAYPIN_CACHE` | the URL of a Redis for item checks |
| `BELAYPIN_PIPELINE` | the pipeline that is meant, as `module:attribute` |
| `NO_COLOR` | no colours on a terminal |

What they do not set stands in [belaypin.toml](../how-to/configure-the-command-line.md)."""


def _schema_files() -> Iterator[tuple[str, str]]:
    for name, schema in sorted({**cli_schemas.schemas(), "error": cli_schemas.ERROR}.items()):
        title = "an error" if name == "error" else f"belaypin {name} --json"
        whole = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": title,
            **schema,
        }
        yield name, json.dumps(whole, indent=1) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if stale")
    check = parser.parse_args(argv).check
    stale = 0
    for path, fresh in pages().items():
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before == fresh:
            continue
        stale += 1
        name = path.relative_to(ROOT).as_posix()
        if check:
            lines = (before.splitlines(keepends=True), fresh.splitlines(keepends=True))
            print("".join(difflib.unified_diff(*lines, name, f"{name} (fresh)")))
        else:
            print(f"writing {name}")
            path.parent.mkdir(exist_ok=True)
            path.write_text(fresh, encoding="utf-8")
    if check and stale:
        print(f"{stale} files of the reference are stale: run python tools/generate_reference.py")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
