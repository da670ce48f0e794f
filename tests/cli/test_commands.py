"""Every command, as a subprocess, on both databases; its JSON is what the committed schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from belaypin.cli.commands import COMMANDS
from tests.cli.shop import HOSTILE_PATH, answer, fork

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "json"
ELSEWHERE = {"bench", "demo", "drill", "export", "import", "run", "ui", "upgrade-state"}
"""Commands that need more than a store: tests/acceptance, drill and web, test_run.py, test_exchange.py."""


class Case(NamedTuple):
    """How a command is called, and the exit code that it has then."""

    words: tuple[str, ...]
    code: int = 0

    def __str__(self) -> str:
        return " ".join(self.words)


def case(line: str, code: int = 0) -> Case:
    return Case(tuple(line.split()), code)


DAY_2 = "--since 2024-05-01 --until 2024-05-01T12:00:00Z"

CASES = [
    case("init"),
    case("migrate --dry-run"),
    case("migrate --sql"),
    case("migrate"),
    case("doctor"),
    case("completion bash"),
    case("completion zsh"),
    case("completion fish"),
    case("plan"),
    case("plan --verify --pipeline social"),
    case("recover --dry-run"),
    case("recover --pipeline shop"),
    case("status"),
    case("status social"),
    case("status social/user:7/posts"),
    case("status state:waiting items>0 --limit 2"),
    case("status stream:posts error~evil"),
    case("status social --check gaps=100"),
    case("status social --check lag=15m,gaps=0,failures=0", 1),
    case("status --check lag=15m", 1),
    case("status nowhere --check lag=15m", 1),
    case("lag"),
    case("lag social/user:7"),
    case("lag stream:posts lag>1h --limit 2"),
    case("gaps"),
    case("gaps social/user:7/posts"),
    case("gaps social/user:7/posts --until 2024-05-06"),
    case("coverage social/user:7/posts"),
    case("failures --limit 2"),
    case("failures state:waiting error~evil"),
    case("failures social/user:7"),
    case("failures --by-error"),
    case("failures social state:waiting error:Value* --by-error", 2),
    case("failures pipeline:social state:waiting --by-error"),
    case("failures --id 7"),
    case("failures --id 999", 1),
    case("leases"),
    case("windows"),
    case("windows social/user:7"),
    case("leases state:released pipeline:social"),
    case("orphans"),
    case("operations"),
    case("operations charge:7"),
    case("operations none", 1),
    case("items social/user:7/posts --limit 3"),
    case("items social/user:7/posts --contains 7"),
    case("explain social/user:7/posts 5"),
    case("explain social/user:7/profile"),
    case(f"get {HOSTILE_PATH}"),
    case("get social/nobody", 1),
    case(f"history {HOSTILE_PATH} --limit 1"),
    case(f"diff {HOSTILE_PATH} 1"),
    case("savepoints social"),
    case("outbox"),
    case("outbox mail --quarantined --limit 1"),
    case("audit"),
    case("audit --actor pid-"),
    case("health --record"),
    case("health --since 1d"),
    case("storage"),
    case("storage --pipeline social"),
    case("metrics --worst 1"),
    case("retry social/user:1 --dry-run"),
    case("retry entity:user:1 state:waiting --yes"),
    case("skip social/user:2/posts --yes"),
    case("quarantine social/user:3/posts 77 --reason odd --dry-run"),
    case("quarantine social/user:3/posts 77 --reason odd --yes"),
    case("redeliver mail --dry-run"),
    case("redeliver mail order:1 order:2 --yes"),
    case("redeliver mail order:1 nothing --yes", 1),
    case("redeliver mail --yes"),
    case("prioritise entity:user:3 --to 5 --dry-run"),
    case("prioritise social/user:3 --to 5 --yes"),
    case("prioritise social --to 5 --yes", 1),
    case("readmit state:quarantined --dry-run"),
    case("readmit social/user:1 --yes"),
    case("readmit social/nobody --yes", 2),
    case("break-lease social/user:1 --reason hangs --yes", 2),
    case("break-lease shop/held --reason hangs --dry-run"),
    case("break-lease shop/held --reason hangs --yes"),
    case(f"backfill social/user:4/posts {DAY_2} -n"),
    case(f"backfill stream:posts entity:user:4 {DAY_2} -y"),
    case("reset social/user:5 -y"),
    case("reset entity:user:5 pipeline:social -y"),
    case("rewind social/user:6 --to before -y"),
    case("rewind entity:user:6 --to nowhere -y", 1),
    case(f"rewind {HOSTILE_PATH} --to 1 --dry-run"),
    case("savepoint social/user:7 now --note why"),
    case("savepoint social/user:7 now --drop"),
    case("fork social/user:7 trial/user:7"),
    case("fork social/user:7 trial/user:7", 2),
    case("gc --dry-run"),
    case("gc --yes"),
    case("compact"),
    case("verify"),
    case("verify social/user:1"),
]
"""In this order: some see what others left."""


@pytest.mark.parametrize("each", CASES, ids=str)
def test_its_json_is_as_documented(each: Case, store: str) -> None:
    done = fork(*each.words, "--json", store=store)
    assert done.returncode == each.code, done.stderr
    if each.code == 2:
        assert json.loads(done.stderr)["error"]["exit"] == 2
        return
    schema = json.loads((SCHEMAS / f"{each.words[0]}.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("words", "is_found"),
    [("error:ValueError*", True), ("error:Value", False), ("-error:Value*", False)],
)
def test_failures_by_how_their_error_begins(words: str, is_found: bool, sqlite_store: str) -> None:
    rows = answer("failures", "social/user:7", store=sqlite_store)["rows"]
    where = f"pipeline:social entity:user:7 {words}"
    found = answer("failures", where, store=sqlite_store)["rows"]
    assert rows != []
    assert found == (rows if is_found else [])


def test_every_command_is_called() -> None:
    called = {each.words[0] for each in CASES} | ELSEWHERE
    assert called == set(COMMANDS)


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_each_schema_is_one(path: Path) -> None:
    schema: Any = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    assert not Draft202012Validator(schema).is_valid({"no": "such answer"})
