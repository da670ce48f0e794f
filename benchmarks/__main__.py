"""python -m benchmarks: what belaypin costs, on SQLite and on a PostgreSQL with fsync on."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import (
    dashboard,
    engines,
    fixed,
    growth,
    hashing,
    listing,
    new_user,
    recovery,
    saves,
    size,
    skip,
    tax,
)
from benchmarks.databases import Postgres, Server, Sqlite
from benchmarks.figures import Figure
from benchmarks.machine import describe
from benchmarks.report import as_json, print_tables
from benchmarks.source import IdKind
from tests.services import Services

_SECTIONS = (
    *("tax", "bytes", "skip", "growth", "hash", "saves", "fixed", "recovery", "engines"),
    *("listing", "dashboard", "new_user"),
)
_EVERYDAY_ITEMS = 1_000_000
_FULL_ITEMS = 10_000_000
_EVERYDAY_ENTITIES = 100_000
_FULL_ENTITIES = 1_000_000


def main() -> None:
    arguments = _arguments()
    with Services() as services, tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        servers: list[Server] = [Sqlite(Path(place))]
        postgres = None if arguments.sqlite else services.postgres_in_production
        if postgres is not None:
            servers.append(Postgres(postgres.url))
        machine = describe(Path(place), postgres.url if postgres else None)
        figures = list(_figures(arguments, servers))
    if arguments.json:
        print(as_json(figures, machine))
    else:
        print_tables(figures, machine)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"some of {', '.join(_SECTIONS)}; default: all")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--full", action="store_true", help="growth to 10,000,000, on each database"
    )
    parser.add_argument("--items", type=int, help="growth to so many items instead")
    parser.add_argument(
        "--entities", type=int, help="listing and dashboard of so many entities instead"
    )
    parser.add_argument("--pairs", type=int, default=5, help="runs of each loop for a tax")
    parser.add_argument("--sqlite", action="store_true", help="SQLite only")
    parser.add_argument("--folder", default=".", help="where the SQLite files lie for the time")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(_SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    return arguments


def _figures(arguments: argparse.Namespace, servers: list[Server]) -> Iterator[Figure]:
    measurements = {
        "tax": _tax,
        "bytes": _bytes,
        "skip": _skip,
        "growth": _growth,
        "hash": _hash,
        "saves": _saves,
        "fixed": _fixed,
        "recovery": _recovery,
        "engines": _engines,
        "listing": _listing,
        "dashboard": _dashboard,
        "new_user": _new_user,
    }
    for section in arguments.sections or _SECTIONS:
        for server in servers:
            yield from measurements[section](server, arguments)


def _tax(server: Server, arguments: argparse.Namespace) -> Iterator[Figure]:
    for case in tax.cases(server):
        yield tax.measure(server, case, arguments.pairs)


def _bytes(server: Server, _: argparse.Namespace) -> Iterator[Figure]:
    yield from size.measure(server)


def _skip(server: Server, arguments: argparse.Namespace) -> Iterator[Figure]:
    yield from skip.measure(server, arguments.pairs)


def _growth(server: Server, arguments: argparse.Namespace) -> Iterator[Figure]:
    if server.name != Sqlite.name and not arguments.full:
        return
    items = arguments.items or (_FULL_ITEMS if arguments.full else _EVERYDAY_ITEMS)
    kinds: tuple[IdKind, ...] = ("text", "random")
    for kind in kinds:
        yield from growth.measure(server, kind, items)


def _hash(server: Server, arguments: argparse.Namespace) -> Iterator[Figure]:
    if server.name == Sqlite.name:  # no database has a part in it
        yield from hashing.measure(arguments.pairs)


def _saves(server: Server, _: argparse.Namespace) -> Iterator[Figure]:
    yield from saves.measure(server)


def _fixed(server: Server, _: argparse.Namespace) -> Iterator[Figure]:
    if server.name == Sqlite.name:
        yield fixed.import_time()
    yield from fixed.store_time(server)


def _recovery(server: Server, arguments: argparse.Namespace) -> Iterator[Figure]:
    full = _FULL_ENTITIES if arguments.full else _EVERYDAY_ENTITIES
    yield from recovery.measure(server, arguments.items or full)


def _engines(server: Server, _: argparse.Namespace) -> Iterator[Figure]:
    yield from engines.measure(server)


def _listing(server: Server, arguments: argparse.Namespace) -> Iterator[Figure]:
    full = _FULL_ENTITIES if arguments.full else _EVERYDAY_ENTITIES
    entities = arguments.entities or full
    yield from listing.measure(server, entities, arguments.items or 100 * entities)


def _dashboard(server: Server, arguments: argparse.Namespace) -> Iterator[Figure]:
    full = _FULL_ENTITIES if arguments.full else _EVERYDAY_ENTITIES
    entities = arguments.entities or full
    yield from dashboard.measure(server, entities, arguments.items or 100 * entities)


def _new_user(server: Server, _: argparse.Namespace) -> Iterator[Figure]:
    if server.name == Sqlite.name:
        yield from new_user.measure()


if __name__ == "__main__":
    main()
