"""The second example on real data: examples/stackexchange.py under SIGKILL, checked from outside.

It mines the real dump in ../shared/data where that folder is there, and otherwise the small one of
our own making in tests/data; the run says which. What the tables must hold is found here by
regular expressions over the XML: neither belaypin nor the example's own proof has a say in it.
"""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.notes"]

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "quantumcomputing.stackexchange"
SAMPLE = ROOT / "tests" / "data" / "stackexchange-sample"
EXAMPLES = ROOT / "examples"

AS_OF = "2018-07-01T12:00"
"""The moment of the earlier edition. At noon, half of that day's votes are still to come."""

FILES = {
    "profiles": "Users.xml",
    "posts": "Posts.xml",
    "comments": "Comments.xml",
    "votes": "Votes.xml",
    "badges": "Badges.xml",
}
IDS = {  # written out: SQL is not built from strings, not even here
    "profiles": "SELECT id FROM profiles",
    "posts": "SELECT id FROM posts",
    "comments": "SELECT id FROM comments",
    "votes": "SELECT id FROM votes",
    "badges": "SELECT id FROM badges",
}


@dataclass(frozen=True)
class Dump:
    """The folder to mine, and how many kills its size is good for."""

    folder: Path
    kills: int
    page_size: int

    def ids(self, file: str) -> Counter[int]:
        found = re.findall(rb'<row Id="(-?\d+)"', (self.folder / file).read_bytes())
        return Counter(int(number) for number in found)

    def late_edits(self) -> set[int]:
        """Posts created before the earlier edition and edited after it."""
        found = set()
        for line in (self.folder / "Posts.xml").read_text("utf-8-sig").splitlines():
            edited = re.search(r' LastEditDate="([^"]+)"', line)
            created = re.search(r' CreationDate="([^"]+)"', line)
            if edited and created and created[1] < AS_OF <= edited[1]:
                found.add(int(re.findall(r'<row Id="(\d+)"', line)[0]))
        return found


DUMPS = {"whole": Dump(REAL, kills=8, page_size=50), "sample": Dump(SAMPLE, kills=8, page_size=5)}
if not REAL.is_dir():
    DUMPS["whole"] = DUMPS["sample"]


Ask = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Store:
    """Where the example mines to, and a plain connection's answer to a query."""

    url: str
    ask: Ask


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where SQLite files go: in memory if the machine has such a folder.

    A SIGKILL takes nothing from the page cache, so fsync adds minutes to these tests and proves
    nothing in them; what it is for, the loss of power, has tests of its own.
    """
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.fixture
def sqlite(folder: Path) -> Store:
    file = folder / "mined.db"
    return Store(f"sqlite:///{file}", lambda sql: ask_sqlite(file, sql))


@pytest.fixture
def postgresql(postgres_url: str) -> Store:
    return Store(postgres_url, lambda sql: ask_postgres(postgres_url, sql))


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, sqlite: Store, postgresql: Store) -> Store:
    stores = {"sqlite": sqlite, "postgresql": postgresql}
    return stores[request.param]


def ask_sqlite(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as db, db:
        return db.execute(sql).fetchall()


def ask_postgres(url: str, sql: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(url) as db:
        return db.execute(sql.encode()).fetchall()


def run_example(dump: Path, store: Store, *options: str, status: int = 0) -> dict[str, Any]:
    """Run the example as its user would; return what it prints as JSON."""
    command = [sys.executable, str(EXAMPLES / "stackexchange.py"), str(dump)]
    command += ["--store", store.url, "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == status, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize(
    ("size", "database"),
    [
        pytest.param("whole", "sqlite", marks=pytest.mark.proof),
        ("sample", "sqlite"),
        ("sample", "postgresql"),
        pytest.param("whole", "postgresql", marks=pytest.mark.long),
    ],
)
def test_kills_and_late_edits(
    size: str,
    database: str,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    dump = DUMPS[size]
    store: Store = request.getfixturevalue(database)
    kills = ("--kills", str(dump.kills), "--page-size", str(dump.page_size))

    earlier = run_example(dump.folder, store, *kills, "--as-of", AS_OF)
    assert earlier["kills"] == dump.kills
    assert earlier["new"] > 0
    edits: dict[int, str | None] = dict(store.ask("SELECT id, edited FROM posts"))

    whole = run_example(dump.folder, store, *kills, "--seed", "2")
    assert whole["kills"] == dump.kills
    for table, query in IDS.items():
        assert Counter(row[0] for row in store.ask(query)) == dump.ids(FILES[table])
    now: dict[int, str | None] = dict(store.ask("SELECT id, edited FROM posts"))
    assert {post for post in edits if edits[post] != now[post]} == dump.late_edits() != set()

    which = "real dump of ../shared/data" if dump.folder == REAL else "sample of tests/data"
    note = (
        f"stackexchange on {store.url.partition(':')[0]}: {which}, {whole['expected']} rows, "
        f"{2 * dump.kills} kills, 0 lost, 0 doubled; first new commit p50 "
        f"{whole['recovery_p50_s']:.3f} s, max {whole['recovery_max_s']:.3f} s"
    )
    record_property("note", note)
    print(note)  # noqa: T201 - with -s, at once


def test_a_second_run_stores_nothing(store: Store) -> None:
    first = run_example(SAMPLE, store, "--kills", "3", "--page-size", "5")
    assert first["new"] > 0

    second = run_example(SAMPLE, store, "--page-size", "5")

    assert (second["new"], second["changed"]) == (0, 0)
    assert second["skipped"] == second["streams"]["profiles"]["expected"]
    for table, query in IDS.items():
        assert Counter(row[0] for row in store.ask(query)) == Dump(SAMPLE, 0, 0).ids(FILES[table])


def test_a_profile_is_stored_again_only_when_its_content_changed(
    sqlite: Store, tmp_path: Path
) -> None:
    run_example(SAMPLE, sqlite)
    later = tmp_path / "later"
    shutil.copytree(SAMPLE, later)
    users = (later / "Users.xml").read_text("utf-8")
    users = re.sub(r' LastAccessDate="2018', ' LastAccessDate="2019', users)  # everybody came by
    users = users.replace('DisplayName="Ada Bowline"', 'DisplayName="Ada Sheepshank"', 1)
    (later / "Users.xml").write_text(users, "utf-8")

    result = run_example(later, sqlite)

    assert (result["new"], result["changed"]) == (0, 1)
    assert sqlite.ask("SELECT count(*) FROM profiles WHERE name = 'Ada Sheepshank'") == [(1,)]


TAMPERINGS = {
    "lost": "DELETE FROM badges WHERE id = 3",
    "duplicates": "INSERT INTO votes SELECT * FROM votes WHERE id = 5",
    "stale": "UPDATE posts SET body = 'old' WHERE id = 2",
    "strange": "INSERT INTO comments VALUES (99999, '1', '', 1, '')",
}


@pytest.mark.parametrize("fault", TAMPERINGS)
def test_the_proof_finds_each_fault(fault: str, sqlite: Store) -> None:
    run_example(SAMPLE, sqlite)
    sqlite.ask(TAMPERINGS[fault])

    result = run_example(SAMPLE, sqlite, status=1)

    assert {name: result[name] for name in TAMPERINGS} == dict.fromkeys(TAMPERINGS, 0) | {fault: 1}


def test_pages_hold_each_row_of_a_tie_once(tmp_path: Path) -> None:
    site = example_site(tmp_path)
    early, late = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    ties = 0
    for user in site.users(None, limit=100)[0]:
        whole = site.page(user, "votes", early, late, limit=1000)["data"]["items"]
        paged: list[dict[str, Any]] = []
        cursor = None
        while True:
            answer = site.page(user, "votes", early, late, cursor, limit=2)
            assert len(answer["data"]["items"]) <= 2
            paged += answer["data"]["items"]
            cursor = answer["paging"]["next"]
            if cursor is None:
                break
        assert paged == whole
        assert paged == sorted(paged, key=lambda vote: (vote["CreationDate"], vote["Id"]))
        ties = max([ties, *Counter(vote["CreationDate"] for vote in whole).values()])
    assert ties > 4  # so that one of them did run across pages


def example_site(folder: Path) -> Any:
    module = runpy.run_path(str(EXAMPLES / "stackexchange_site.py"))
    module["publish"](SAMPLE, folder / "site.db")
    return module["Site"](folder / "site.db")


def test_the_sample_is_what_its_tool_makes(tmp_path: Path) -> None:
    tool = ROOT / "tools" / "make_stackexchange_sample.py"
    subprocess.run([sys.executable, tool, tmp_path], check=True)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.xml")} == {
        file.name: file.read_bytes() for file in SAMPLE.glob("*.xml")
    }
