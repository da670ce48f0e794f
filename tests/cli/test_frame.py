"""What all commands share: which store, how it is shown, what is asked, how an error ends."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from jsonschema import Draft202012Validator

import belaypin
from belaypin.cli.redact import hidden
from belaypin.cli.text import parse_key, path
from tests.cli.shop import HOSTILE_PATH, PROGRAM, answer, call, fork
from tests.cli.test_commands import SCHEMAS
from tests.services.fixtures import DurablePostgres

WAITING = """
SELECT 1 FROM pg_locks
WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

# --- which store --------------------------------------------------------------------------------


def test_without_a_store_it_says_how_to_name_one(folder: Path) -> None:
    done = fork("health")
    assert done.returncode == 2
    assert "--store" in done.stderr
    assert "BELAYPIN_STORE" in done.stderr
    assert "belaypin.toml" in done.stderr


def test_a_missing_file_is_no_empty_store(folder: Path) -> None:
    done = fork("health", store="sqlite:///nowhere.db")
    assert done.returncode == 2
    assert "`belaypin init`" in done.stderr
    assert not (folder / "nowhere.db").exists()


def test_the_nearest_setting_wins(folder: Path) -> None:
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[tool.belaypin]\nstore = "sqlite:///far.db"\n')
    os.chdir(inner)
    assert answer("init")["source"] == str(folder / "pyproject.toml")
    assert (folder / "far.db").exists()  # beside its settings, not where the command is called
    (folder / "a" / "belaypin.toml").write_text('store = "sqlite:///near.db"\n')
    assert answer("init")["source"] == str(folder / "a" / "belaypin.toml")
    assert answer("init", store="sqlite:///env.db")["source"] == "BELAYPIN_STORE"
    given = answer("init", "--store", "sqlite:///given.db", store="sqlite:///env.db")
    assert given["source"] == "--store"
    done = fork("health", "-v", store="sqlite:///env.db")
    assert done.stderr == "Store: sqlite:///env.db (from BELAYPIN_STORE)\n"


@pytest.mark.parametrize("text", ['stores = "x"', "store = 7", "store = ", "retention = 1"])
def test_settings_that_are_none_are_refused(text: str, folder: Path) -> None:
    (folder / "belaypin.toml").write_text(text)
    done = fork("health")
    assert done.returncode == 2
    assert "belaypin.toml" in done.stderr


def test_retention_is_a_setting(folder: Path) -> None:
    (folder / "belaypin.toml").write_text('store = "sqlite:///a.db"\n[retention]\naudit = "1s"\n')
    fork("init")
    assert answer("gc", "--dry-run")["dry_run"] is True
    (folder / "belaypin.toml").write_text('store = "sqlite:///a.db"\n[retention]\naudits = "1s"\n')
    assert "no 'audits'" in fork("gc", "--dry-run").stderr


# --- errors -------------------------------------------------------------------------------------


def error_of(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    error = json.loads(done.stderr)
    schema = json.loads((SCHEMAS / "error.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(error)
    assert error["error"]["exit"] == done.returncode
    found: dict[str, object] = error["error"]
    return found


def test_an_error_is_json_if_the_answer_is(folder: Path) -> None:
    assert error_of(fork("health", "--json"))["kind"] == "UsageError"
    assert error_of(fork("get", "--json"))["kind"] == "UsageError"
    assert error_of(fork("nonsense", "--jsonl"))["kind"] == "UsageError"


def test_a_server_that_is_not_there(folder: Path) -> None:
    url = "postgresql://app:hunter22@127.0.0.1:1/app?connect_timeout=2"
    done = call("health", "--json", "-v", "--store", url)
    said, _, error = done.stderr.partition("\n")
    assert "hunter22" not in done.stdout + done.stderr
    assert "app:***@127.0.0.1" in said
    assert json.loads(error)["error"]["kind"] == "StoreUnavailable"
    assert done.returncode == 4
    assert call("doctor", "--store", url).returncode == 4


def test_a_store_of_a_newer_belaypin(folder: Path, postgres_url: str) -> None:
    for url in ("sqlite:///app.db", postgres_url):
        with belaypin.open(url) as store:
            store.execute(
                "INSERT INTO belaypin_migration (version, name, checksum, applied_us) "
                "SELECT 9000, 'from_the_future', checksum, applied_us FROM belaypin_migration "
                "WHERE version = 1"
            )
        done = fork("status", "social", "--json", store=url)
        assert error_of(done)["kind"] == "SchemaTooNew"
        assert done.returncode == 2


CODES = {
    belaypin.UsageError: 2,
    belaypin.MissingDriver: 2,
    belaypin.SchemaTooNew: 2,
    belaypin.SqlError: 2,
    belaypin.StoreBusy: 4,
    belaypin.StoreFull: 4,
    belaypin.StoreUnavailable: 4,
    belaypin.CorruptRecord: 1,
    belaypin.LeaseHeld: 1,
    KeyboardInterrupt: 130,
    BrokenPipeError: 141,
    ZeroDivisionError: 1,
}


@pytest.mark.parametrize("error", CODES, ids=lambda error: error.__name__)
def test_each_error_has_its_exit_code(
    error: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import belaypin, sys; from belaypin.cli.exits import run\n"
        f"def fail(secrets): secrets.learn('x://u:hunter22@h'); raise {_name(error)}('hunter22')\n"
        "sys.exit(run(fail, []))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == CODES[error], done.stderr
    assert "hunter22" not in done.stderr
    assert ("Traceback" in done.stderr) is (error is ZeroDivisionError)


def _name(error: type[BaseException]) -> str:
    return error.__name__ if error.__module__ == "builtins" else f"belaypin.{error.__name__}"


def test_passwords_are_hidden() -> None:
    assert hidden("postgresql://u:a@b:c@h/db") == "postgresql://u:***@h/db"
    assert hidden("host=h password='x y' user=u") == "host=h password=*** user=u"
    assert hidden("redis://:pw@h/0") == "redis://:***@h/0"
    done = call("health", "--store", "postgresqlx://u:hunter22@h/db")
    assert done.returncode == 2
    assert "hunter22" not in done.stderr


# --- what is shown ------------------------------------------------------------------------------


def in_terminal(*words: str, store: str, columns: int, env: dict[str, str] | None = None) -> str:
    """What a command prints on a terminal of so many columns."""
    parent, child = pty.openpty()
    with open(child, "wb", buffering=0) as terminal:
        done = subprocess.Popen(
            [*PROGRAM, *words],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, "BELAYPIN_STORE": store, "COLUMNS": str(columns), "TERM": "xterm"}
            | (env or {}),
        )
    written = b""
    with open(parent, "rb", buffering=0) as terminal:
        try:
            while chunk := terminal.read(4096):
                written += chunk
        except OSError:  # the last one to have it open is gone
            pass
    assert done.wait(30) == 0
    return written.decode()


def test_hostile_text_never_reaches_a_terminal(sqlite_store: str) -> None:
    for words in (("get", HOSTILE_PATH), ("failures",), ("failures", "--id", "7")):
        for text in (
            fork(*words, store=sqlite_store).stdout,
            in_terminal(*words, store=sqlite_store, columns=60, env={"NO_COLOR": "1"}),
        ):
            assert "\x1b[2J" not in text
            assert "\u202e" not in text
    missing = fork("get", "shop/\x1b[2J\u202e", store=sqlite_store)
    assert missing.returncode == 1
    assert "\x1b" not in missing.stderr
    assert "\u202e" not in missing.stderr


def test_a_narrow_terminal_loses_nothing(sqlite_store: str) -> None:
    text = in_terminal("failures", store=sqlite_store, columns=50, env={"NO_COLOR": "1"})
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(len, lines)) <= 50
    assert "\x1b[3" not in text
    wide = fork("failures", store=sqlite_store).stdout
    assert wide.count("social/user:7/posts") >= 1
    assert "\x1b" not in wide


def test_a_row_a_line(sqlite_store: str) -> None:
    lines = fork("failures", "--jsonl", "--limit", "2", store=sqlite_store).stdout.splitlines()
    assert len(lines) == 2
    assert {json.loads(line)["key"]["stream"] for line in lines} == {"posts"}


def test_pages_follow_one_another(sqlite_store: str) -> None:
    first = answer("failures", "--limit", "2", store=sqlite_store)
    then = answer("failures", "--limit", "2", "--after", first["next"], store=sqlite_store)
    ids = [row["failure_id"] for row in first["rows"] + then["rows"]]
    assert ids == sorted(set(ids))
    assert len(ids) == 4


def test_a_locale_without_the_characters(sqlite_store: str) -> None:
    env = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    key = "shop/na%C3%AFve%E6%97%A5"
    done = call("lag", key, store=sqlite_store, env=env, encoding="latin-1")
    assert done.returncode == 0, done.stderr
    done = call("get", key, store=sqlite_store, env=env, encoding="latin-1")
    assert done.returncode == 1
    assert done.stderr == "Nothing is stored at shop/na\u00efve\\u65e5.\n"
    done = call("get", "shop/na\u00efve", store=sqlite_store, env={**env, "LC_ALL": "C"})
    assert done.returncode == 2  # what the locale can't read is no text, and that is said
    assert "half a surrogate pair" in done.stderr


def test_nobody_reads_on(sqlite_store: str) -> None:
    line = f"set -o pipefail; {' '.join(PROGRAM)} completion bash | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141), done  # it may have written all before the reader went
    assert done.stderr == ""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:
        alone = subprocess.run(
            [*PROGRAM, "completion", "bash"], stdout=closed, stderr=subprocess.PIPE, check=False
        )
    assert (alone.returncode, alone.stderr) == (141, b"")


def test_ctrl_c(folder: Path, postgres_url: str) -> None:
    fork("init", store=postgres_url)
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE belaypin_checkpoint IN ACCESS EXCLUSIVE MODE")
        words = [*PROGRAM, "status", "social", "--store", postgres_url]
        waiting = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        while not other.execute(WAITING).fetchone():
            assert waiting.poll() is None
            time.sleep(0.02)
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert said.strip().startswith(b"Error: Stopped.")


def test_a_server_that_dies_is_told_in_one_document(
    folder: Path, postgres_durable: DurablePostgres
) -> None:
    fork("init", store=postgres_durable.url)
    with psycopg.connect(postgres_durable.url) as other:
        other.execute("LOCK TABLE belaypin_checkpoint IN ACCESS EXCLUSIVE MODE")
        words = [*PROGRAM, "health", "--json", "--store", postgres_durable.url]
        waiting = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        while not other.execute(WAITING).fetchone():
            assert waiting.poll() is None
            time.sleep(0.02)
        postgres_durable.kill9()
        out, said = waiting.communicate(timeout=60)
        other.close()
    assert (waiting.returncode, out) == (4, b"")
    error = json.loads(said)["error"]
    assert (error["kind"], error["exit"]) == ("StoreUnavailable", 4)


# --- what is asked ------------------------------------------------------------------------------


def test_a_destructive_verb_asks(sqlite_store: str) -> None:
    before = answer("status", "social/user:7", store=sqlite_store)["items"]
    refused = fork("reset", "social/user:7", store=sqlite_store)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    tried = fork("reset", "social/user:7", "--dry-run", store=sqlite_store)
    assert tried.returncode == 0
    assert "would take social / user:7 back to the beginning" in tried.stdout
    assert "dry run" in tried.stderr
    assert answer("status", "social/user:7", store=sqlite_store)["items"] == before


def on_terminal(answer: bytes, *words: str) -> tuple[int, str]:
    """Run a command whose questions are answered on a terminal."""
    parent, child = pty.openpty()
    with open(child, "rb", buffering=0) as terminal:
        asked = subprocess.Popen(
            [*PROGRAM, *words], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    os.write(parent, answer)
    out, err = asked.communicate(timeout=60)
    os.close(parent)
    return asked.returncode, (out + err).decode()


def test_no_is_no_and_yes_is_audited(folder: Path) -> None:
    url = "sqlite:///app.db"
    with belaypin.open(url) as store:
        store.save(("shop", "till"), {"sum": 1})
    code, said = on_terminal(b"n\n", "reset", "shop/till", "--store", url)
    assert code == 1
    assert "Nothing was done." in said
    assert answer("get", "shop/till", store=url)["state"] == {"sum": 1}
    code, said = on_terminal(b"y\n", "reset", "shop/till", "--store", url)
    assert code == 0, said
    (entry,) = answer("audit", store=url)["rows"]
    assert entry["action"] == "reset"


# --- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [("a",), ("a", "b"), ("a", "b/c", "%2F"), (" a ", "  "), ("\x1b[0m", "\u202e\n", "é日")],
)
def test_a_key_is_written_and_read_back(parts: tuple[str, ...]) -> None:
    key = belaypin.Key.of(parts)
    assert parse_key(path(key)) == key
    assert path(key).isprintable()


@pytest.mark.parametrize("text", ["", "/", "a//b", "a/b/c/d", "50%", "a/%zz", "a/%ff", "a/%00"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(belaypin.UsageError):
        parse_key(text)


@pytest.mark.parametrize("words", [("--help",), ("status", "--help"), ("--version",)])
def test_help_needs_no_store(words: tuple[str, ...], folder: Path) -> None:
    done = call(*words)
    assert (done.returncode, done.stderr) == (0, "")


def test_completion_completes(sqlite_store: str) -> None:
    env = {"_BELAYPIN_COMPLETE": "bash_complete", "COMP_WORDS": "belaypin sta", "COMP_CWORD": "1"}
    program = Path(sys.executable).with_name("belaypin")
    done = subprocess.run(
        [program], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "plain,status\n"
