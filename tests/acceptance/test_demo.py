"""The main job on real repositories, from the outside: as a command, checked against git itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belaypin.demo.text import shortened, text_of

KEYS = {
    "items",
    "expected",
    "lost",
    "duplicates",
    "kills",
    "recovery_p50_s",
    "recovery_max_s",
    "skipped",
}
DEMO = [sys.executable, "-P", "-m", "belaypin.cli", "demo"]
T0 = 1_500_000_000
DAY = 86_400


@dataclass
class Commit:
    """One commit for fast-import; the files map a path to its content, or to None to delete it."""

    files: Mapping[bytes, bytes | None] = field(default_factory=lambda: {b"a.txt": b"1"})
    author: bytes = b"Ada <ada@example.org>"
    committed_s: int = T0
    authored_s: int | None = None
    merge: str | None = None


@pytest.fixture(autouse=True, scope="module")
def _plain_git() -> Iterator[None]:
    """Git without the settings of whoever runs the tests, and not in a repository by accident."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
        patch.setenv("PYTHONUTF8", "1")
        yield


def git(repo: Path, *command: str, stdin: bytes = b"") -> bytes:
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    done = subprocess.run(
        ["git", "-C", str(repo), *identity, "-c", "protocol.file.allow=always", *command],
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def make_repository(path: Path, commits: Sequence[Commit], *options: str) -> Path:
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main", *options)
    add_commits(path, commits)
    return path


def add_commits(path: Path, commits: Sequence[Commit], branch: str = "main") -> None:
    stream = b"".join(_fast_import(path, commits, branch))
    git(path, "fast-import", "--quiet", "--force", "--date-format=raw-permissive", stdin=stream)


def _fast_import(path: Path, commits: Sequence[Commit], branch: str) -> Iterator[bytes]:
    ref = f"refs/heads/{branch}"
    known = git(path, "for-each-ref", ref)
    for number, commit in enumerate(commits, start=1):
        authored_s = commit.committed_s if commit.authored_s is None else commit.authored_s
        yield f"commit {ref}\nmark :{number}\n".encode()
        yield b"author %b %d +0000\n" % (commit.author, authored_s)
        yield b"committer C <c@example.org> %d +0000\n" % commit.committed_s
        yield b"data 6\nchange\n"
        if number == 1 and known:
            yield f"from {ref}^0\n".encode()
        if commit.merge:
            yield f"merge {commit.merge}\n".encode()
        for file, content in commit.files.items():
            quoted = b'"%b"' % b"".join(b"\\%03o" % byte for byte in file)
            if content is None:
                yield b"D %b\n" % quoted
            else:
                yield b"M 100644 inline %b\ndata %d\n%b\n" % (quoted, len(content), content)
        yield b"\n"


def history(count: int, *, authors: int = 3, start_s: int = T0) -> list[Commit]:
    """Some authors in turn; every fourth commit was written a day before it was committed."""
    return [
        Commit(
            files={b"dir/%d.txt" % (n % 7): b"%d" % n, b"file-%d.txt" % n: b"x"},
            author=b"Author %d <a%d@example.org>" % (n % authors, n % authors),
            committed_s=start_s + n * 60,
            authored_s=start_s + n * 60 - (DAY if n % 4 == 0 else 0),
        )
        for n in range(count)
    ]


def run(*options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *options],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=120,
        check=False,
    )


def figures(*options: str, cwd: Path, code: int = 0) -> dict[str, Any]:
    done = run("--json", *options, cwd=cwd)
    assert done.returncode == code, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def git_says(repo: Path) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Ask git, one commit at a time, by another road than the demo."""
    commits = git(repo, "rev-list", "--all").decode().split()
    listing = ("diff-tree", "-r", "--root", "--no-commit-id", "--name-only", "-z")
    files = Counter(
        (commit, text_of(path))
        for commit in commits
        for path in git(repo, *listing, "--ignore-submodules=none", commit).split(b"\0")[:-1]
    )
    return Counter(commits), files


def expected_in(repo: Path, *, authors: int) -> int:
    commits, files = git_says(repo)
    return authors + commits.total() + files.total()


def check_tables(repo: Path, database: Path) -> None:
    """The tables hold what git says, as multisets."""
    commits, files = git_says(repo)
    with closing(sqlite3.connect(database)) as db:
        assert Counter(row[0] for row in db.execute("SELECT id FROM demo_commits")) == commits
        assert Counter(db.execute("SELECT commit_id, path FROM demo_files")) == files


def store_of(repo: Path) -> Path:
    common = git(repo, "rev-parse", "--git-common-dir").decode().strip()
    return repo / common / "belaypin-demo.db"


def change_rows(database: Path, sql: str) -> None:
    with closing(sqlite3.connect(database)) as db, db:
        assert db.execute(sql).rowcount == 1


def test_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(120))
    result = figures("--kills", "8", "--seed", "1", cwd=repo)
    assert set(result) == KEYS
    assert result["kills"] == 8
    assert (result["lost"], result["duplicates"], result["skipped"]) == (0, 0, 0)
    assert result["items"] == result["expected"] == 3 + 120 + 240
    assert 0 < result["recovery_p50_s"] <= result["recovery_max_s"]
    check_tables(repo, store_of(repo))
    assert git(repo, "status", "--porcelain", "--ignored", "--", ":!dir", ":!file-*") == b""


def test_the_report_for_people(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(20))
    done = run("--kills", "2", cwd=repo)
    assert done.returncode == 0, done.stderr
    for word in (
        "commits",
        "expected",
        "lost",
        "duplicates",
        "Kills",
        str(store_of(repo).resolve()),
    ):
        assert word in done.stdout
    assert done.stderr == ""


def test_the_command_it_names_shows_the_rows(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(20))
    done = run("--kills", "0", cwd=repo)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("Look into it:"))
    command = line.removeprefix("Look into it:").strip()
    shown = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
    assert "Author 0 <a0@example.org>" in shown


def test_a_second_run_has_nothing_to_do(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(30))
    first = figures("--kills", "2", cwd=repo)
    second = figures("--kills", "2", cwd=repo)
    assert (first["skipped"], second["skipped"]) == (0, second["expected"])
    assert (second["kills"], second["recovery_p50_s"], second["lost"]) == (0, None, 0)
    assert "nothing to do" in run(cwd=repo).stdout
    check_tables(repo, store_of(repo))


def test_fresh_starts_over(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(10))
    figures("--kills", "0", cwd=repo)
    assert figures("--kills", "1", "--fresh", cwd=repo)["skipped"] == 0


def test_a_later_run_takes_new_commits_of_any_age(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(30))
    before = figures("--kills", "0", cwd=repo)
    add_commits(repo, history(5, start_s=T0 + 30 * DAY))
    add_commits(repo, history(7, start_s=T0 - 900 * DAY), branch="old")
    after = figures("--kills", "4", cwd=repo)
    assert after["expected"] == expected_in(repo, authors=3)
    assert after["skipped"] == before["expected"]
    assert (after["lost"], after["duplicates"]) == (0, 0)
    check_tables(repo, store_of(repo))


def test_rewritten_history_is_neither_lost_nor_doubled(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(12))
    figures("--kills", "0", cwd=repo)
    git(repo, "reset", "--hard", "--quiet", "HEAD~3")
    add_commits(repo, history(2, authors=1, start_s=T0 + DAY))
    result = figures("--kills", "2", cwd=repo)
    assert (result["lost"], result["duplicates"]) == (0, 0)
    assert result["items"] == result["expected"] == expected_in(repo, authors=3)
    assert "git reports no more" in run(cwd=repo).stdout


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that was mined, to be copied."""
    repo = make_repository(tmp_path_factory.mktemp("mined") / "repo", history(12))
    figures("--kills", "0", cwd=repo)
    return repo


@pytest.mark.parametrize(
    ("sql", "lost", "duplicates"),
    [
        ("DELETE FROM demo_commits WHERE rowid = 5", 1, 0),
        ("DELETE FROM demo_files WHERE rowid = 5", 1, 0),
        ("DELETE FROM demo_profiles WHERE rowid = 1", 1, 0),
        ("INSERT INTO demo_commits SELECT * FROM demo_commits WHERE rowid = 5", 0, 1),
        ("INSERT INTO demo_files SELECT * FROM demo_files WHERE rowid = 5", 0, 1),
        ("INSERT INTO demo_profiles SELECT * FROM demo_profiles WHERE rowid = 1", 0, 1),
        ("UPDATE demo_profiles SET commits = commits + 1 WHERE rowid = 1", 1, 0),
        ("UPDATE demo_commits SET author = 'Eve' WHERE rowid = 5", 1, 0),
    ],
)
def test_the_proof_fails_where_it_has_to(
    tmp_path: Path, mined: Path, sql: str, lost: int, duplicates: int
) -> None:
    repo = shutil.copytree(mined, tmp_path / "repo")
    change_rows(store_of(repo), sql)
    result = figures(cwd=repo, code=1)
    assert (result["lost"], result["duplicates"]) == (lost, duplicates)


def test_a_failed_proof_says_so(tmp_path: Path, mined: Path) -> None:
    repo = shutil.copytree(mined, tmp_path / "repo")
    change_rows(store_of(repo), "DELETE FROM demo_commits WHERE rowid = 1")
    done = run(cwd=repo)
    assert done.returncode == 1
    assert "NOT PROVEN: 1 lost" in done.stdout


def test_an_empty_repository(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", [])
    result = figures(cwd=repo)
    assert (result["items"], result["expected"], result["kills"]) == (0, 0, 0)
    assert "no commits" in run(cwd=repo).stdout


@pytest.mark.parametrize("count", [1, 2])
def test_a_tiny_repository(tmp_path: Path, count: int) -> None:
    repo = make_repository(tmp_path / "repo", history(count))
    result = figures(cwd=repo)
    assert (result["lost"], result["duplicates"], result["items"]) == (0, 0, 4 * count)
    assert 0 < result["kills"] <= 5


def test_a_bare_repository_by_its_path(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo.git", history(10), "--bare")
    result = figures("--repo", str(repo), "--kills", "1", cwd=tmp_path)
    assert result["items"] == result["expected"] == 3 + 10 + 20
    check_tables(repo, repo / "belaypin-demo.db")


def test_files_of_the_work_tree_are_no_modules(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(3))
    for name in ("belaypin", "json", "os", "random", "sqlite3"):
        (repo / f"{name}.py").write_text("raise SystemExit('code of the repository was run')")
    assert figures("--kills", "1", cwd=repo)["lost"] == 0


def test_a_path_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = make_repository(tmp_path / "wanted", history(4))
    other = make_repository(tmp_path / "other", history(9))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert figures("--repo", str(wanted), "--kills", "0", cwd=tmp_path)["expected"] == 3 + 4 + 8


def test_a_shallow_repository(tmp_path: Path) -> None:
    origin = make_repository(tmp_path / "origin", history(20))
    git(tmp_path, "clone", "--quiet", "--depth=3", f"file://{origin}", "shallow")
    shallow = tmp_path / "shallow"
    figures("--kills", "2", cwd=shallow)
    check_tables(shallow, store_of(shallow))
    git(shallow, "fetch", "--quiet", "--unshallow")
    result = figures("--kills", "2", cwd=shallow)
    assert (result["lost"], result["duplicates"], result["expected"]) == (0, 0, 3 + 20 + 40)


def test_merges_tags_stashes_worktrees_and_a_detached_head(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(6))
    add_commits(repo, history(3, start_s=T0 + DAY), branch="side")
    add_commits(repo, [Commit(committed_s=T0 + 2 * DAY, merge="refs/heads/side")])
    git(repo, "reset", "--hard", "--quiet")
    (repo / "file-1.txt").write_text("changed")
    git(repo, "stash")
    git(repo, "tag", "-a", "-m", "a tag", "v1")
    git(repo, "tag", "tree", "HEAD^{tree}")
    git(repo, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), "HEAD~1")
    tree = tmp_path / "tree"
    git(tree, "commit", "--quiet", "--allow-empty", "-m", "on no branch")
    result = figures("--kills", "2", cwd=tree)
    assert (result["lost"], result["duplicates"]) == (0, 0)
    check_tables(tree, repo / ".git" / "belaypin-demo.db")


def test_submodules_and_replaced_commits(tmp_path: Path) -> None:
    part = make_repository(tmp_path / "part", history(2))
    repo = make_repository(tmp_path / "repo", history(8))
    git(repo, "reset", "--hard", "--quiet")
    git(repo, "submodule", "--quiet", "add", str(part), "part")
    git(repo, "config", "-f", ".gitmodules", "submodule.part.ignore", "all")
    git(repo, "commit", "--quiet", "--all", "-m", "a submodule")
    git(repo, "replace", "--graft", "HEAD~2", "HEAD~5")
    result = figures("--kills", "2", cwd=repo)
    assert (result["lost"], result["duplicates"]) == (0, 0)
    check_tables(repo, store_of(repo))


def test_hostile_and_odd_names(tmp_path: Path) -> None:
    long_name = b"N" * 10_000
    commits = [
        Commit({b"caf\xe9.txt": b"1", b"caf\\xe9.txt": b"2"}, b"Zo\xeb <zoe@example.org>"),
        Commit({"café.txt".encode(): b"1"}, "Zoë <zoe@example.org>".encode()),
        Commit(
            {b"new\nline": b"1", b"tab\t": b"2", b"\x1b[31mred": b"3"}, b"Zo\\xeb <zoe@example.org>"
        ),
        Commit({b"a'b\"c;--": b"1", b" ": b"2", b"-": b"3"}, b"'; DROP TABLE demo_files; -- <x>"),
        Commit({b"/".join([b"d" * 200] * 15) + b"/1": b"1"}, long_name + b"1 <n@example.org>"),
        Commit({b"/".join([b"d" * 200] * 15) + b"/2": b"1"}, long_name + b"2 <n@example.org>"),
        Commit({b"\xed\xa0\x80": b"1", b"0" * 40: b"2", b":100644": b"3"}, b" <>"),
        Commit({b"\xff\\\xff": b"1"}, "\u202e\u0000".encode().strip(b"\0") + b" <rtl@example.org>"),
    ]
    repo = make_repository(tmp_path / "repo", commits)
    result = figures("--kills", "3", "--page-size", "1", cwd=repo)
    assert (result["lost"], result["duplicates"], result["expected"]) == (
        0,
        0,
        expected_in(repo, authors=8),
    )
    check_tables(repo, store_of(repo))
    with closing(sqlite3.connect(store_of(repo))) as db:
        names = {name for (name,) in db.execute("SELECT name FROM demo_profiles")}
    assert {"Zo\\xeb", "Zoë", "Zo\\\\xeb"} <= names


def test_odd_times(tmp_path: Path) -> None:
    """The epoch itself, all at once, the far future, and what no calendar knows."""
    times = [0, 0, 1, T0, T0, T0, int(time.time()) + 400 * DAY, 250_000_000_000, 2**40]
    repo = make_repository(
        tmp_path / "repo", [Commit({b"%d" % n: b"1"}, committed_s=s) for n, s in enumerate(times)]
    )
    for _ in range(2):
        result = figures("--kills", "3", "--page-size", "1", cwd=repo)
        assert (result["lost"], result["duplicates"], result["expected"]) == (0, 0, 1 + 9 + 9)


def test_a_commit_of_many_files_in_small_pages(tmp_path: Path) -> None:
    files = {b"%d/%d" % (n % 9, n): b"1" for n in range(300)}
    repo = make_repository(tmp_path / "repo", [Commit(files), Commit({b"0/0": None})])
    result = figures("--kills", "4", "--page-size", "7", cwd=repo)
    assert (result["kills"], result["lost"], result["duplicates"]) == (4, 0, 0)
    check_tables(repo, store_of(repo))


def test_outside_any_repository_it_makes_one(tmp_path: Path) -> None:
    done = run("--json", "--kills", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "in no git repository" in done.stderr
    first = json.loads(done.stdout)
    assert first["expected"] > 500
    assert first["kills"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["belaypin-demo.git"]
    check_tables(tmp_path / "belaypin-demo.git", tmp_path / "belaypin-demo.git/belaypin-demo.db")
    assert figures(cwd=tmp_path)["skipped"] == first["expected"]


def test_a_folder_whose_name_is_odd(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a ?#%41'\xff\nb"))
    repo = make_repository(folder, history(3))
    done = run("--kills", "1", cwd=repo)
    assert done.returncode == 0, done.stderr
    check_tables(repo, store_of(repo))


def test_a_store_of_ones_own(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(10))
    result = figures("--store", "sqlite:///own.db", "--kills", "2", cwd=repo)
    assert (result["lost"], result["duplicates"], result["kills"]) == (0, 0, 2)
    check_tables(repo, repo / "own.db")
    assert not store_of(repo).exists()


def test_postgresql(tmp_path: Path, postgres_url: str) -> None:
    import psycopg

    repo = make_repository(tmp_path / "repo", history(60))
    store = ("--store", postgres_url)
    first = figures(*store, "--kills", "5", cwd=repo)
    assert (first["kills"], first["lost"], first["duplicates"]) == (5, 0, 0)
    commits, files = git_says(repo)
    with psycopg.connect(postgres_url) as db:
        assert Counter(row[0] for row in db.execute("SELECT id FROM demo_commits")) == commits
        assert Counter(db.execute("SELECT commit_id, path FROM demo_files").fetchall()) == files
    assert figures(*store, cwd=repo)["skipped"] == first["expected"]
    with psycopg.connect(postgres_url) as db:
        one = "(SELECT ctid FROM demo_files LIMIT 1)"
        db.execute(f"INSERT INTO demo_files SELECT * FROM demo_files WHERE ctid = {one}")
        db.execute("DELETE FROM demo_commits WHERE ctid = (SELECT ctid FROM demo_commits LIMIT 1)")
    result = figures(*store, cwd=repo, code=1)
    assert (result["lost"], result["duplicates"]) == (1, 1)


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [(signal.SIGINT, 130, "the same command goes on"), (signal.SIGTERM, 143, "")],
)
def test_a_signal_ends_the_miner_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, says: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    repo = make_repository(tmp_path / "repo", history(600, authors=2))
    process = subprocess.Popen(
        [*DEMO, "--kills", "0", "--page-size", "1"],
        cwd=repo,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_rows(store_of(repo), 20)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code, said
    assert says in said
    assert list(scratch.iterdir()) == []
    assert "Traceback" not in said
    committed = rows_in(store_of(repo))
    time.sleep(0.3)
    assert rows_in(store_of(repo)) == committed, "the miner is still at work"
    # What comes in now lies before the place where the work stopped.
    add_commits(repo, history(4, authors=2, start_s=T0 - DAY), branch="old")
    result = figures("--kills", "2", cwd=repo)
    assert (result["lost"], result["duplicates"]) == (0, 0)
    assert result["skipped"] >= committed
    check_tables_fast(repo, store_of(repo))


def wait_for_rows(database: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while rows_in(database) < count:
        assert time.monotonic() < deadline, "the miner commits nothing"
        time.sleep(0.01)


def rows_in(database: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM demo_commits").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def check_tables_fast(repo: Path, database: Path) -> None:
    commits = Counter(git(repo, "rev-list", "--all").decode().split())
    with closing(sqlite3.connect(database)) as db:
        assert Counter(row[0] for row in db.execute("SELECT id FROM demo_commits")) == commits


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--repo", "nowhere"), "nowhere"),
        (("--repo", "plain"), "not a git repository"),
        (("--kills", "-1"), "--kills"),
        (("--no-such-option",), "--no-such-option"),
        (("--repo", "repo", "--store", "mysql://db"), "postgresql:///"),
        (("--repo", "repo", "--store", "sqlite:///:memory:"), "sqlite:///demo.db"),
        (("--repo", "repo", "--store", "sqlite:////nowhere/at/all.db"), "/nowhere/at/all.db"),
        (("--repo", "repo", "--store", "postgresql://u@127.0.0.1:1/db"), "127.0.0.1"),
        (("--repo", "repo", "--store", "sqlite:///x.db", "--fresh"), "--fresh"),
    ],
)
def test_a_call_that_cannot_work(tmp_path: Path, options: tuple[str, ...], word: str) -> None:
    make_repository(tmp_path / "repo", history(2))
    (tmp_path / "plain").mkdir()
    done = run("--json", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run(cwd=tmp_path)
    assert done.returncode == 2
    assert "git cannot be run" in done.stderr


def test_a_store_that_is_no_database(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(2))
    (repo / "notes.txt").write_text("these are my notes, and no database\n" * 100)
    done = run("--store", "sqlite:///notes.txt", cwd=repo)
    assert done.returncode == 2
    assert "notes.txt" in done.stderr
    assert "my notes" in (repo / "notes.txt").read_text()


def test_a_miner_that_fails_by_itself(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", history(5))
    figures("--kills", "0", cwd=repo)
    with closing(sqlite3.connect(store_of(repo))) as db, db:
        db.execute("DROP TABLE demo_files")
        db.execute("CREATE TABLE demo_files (something_else TEXT)")
    add_commits(repo, history(1, start_s=T0 + DAY))
    done = run("--json", cwd=repo)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert "demo_files" in done.stderr or "commit_id" in done.stderr


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_text_is_lossless(one: bytes, other: bytes) -> None:
    assert (text_of(one) == text_of(other)) == (one == other)
    assert text_of(one).encode().decode() == text_of(one)
    assert not text_of(one).startswith("\\~")
    assert not set(text_of(one)) & {chr(code) for code in range(32)}


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_short_forms_are_lossless_and_short(one: bytes, other: bytes) -> None:
    short = shortened(text_of(one), 100)
    assert len(short.encode()) <= 100
    assert (short == shortened(text_of(other), 100)) == (one == other)
    assert shortened(short, 100) == short
