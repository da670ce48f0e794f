"""A pipeline out of one store and into another, by the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.cli.shop import PROGRAM, answer, call, fork
from tests.cli.test_run import valid

HERE = "sqlite:///here.db"


def test_there_and_back(folder: Path, store: str) -> None:
    found = valid("export", answer("export", "social", "-o", "social.jsonl", store=store))
    assert Path("social.jsonl").read_bytes().count(b"\n") == found["lines"]
    answer("init", store=HERE)
    done = valid("import", answer("import", "social.jsonl", store=HERE))
    assert done["entities"] == 7
    there = answer("status", "social", store=store)
    here = answer("status", "social", store=HERE)
    assert [here[name] for name in ("items", "entities")] == [there["items"], there["entities"]]
    assert valid("import", answer("import", "social.jsonl", store=HERE))["entities"] in (0, 7)
    assert fork("verify", store=HERE).returncode == 0


def test_through_a_pipe(folder: Path, sqlite_store: str) -> None:
    answer("init", store=HERE)
    program = " ".join(PROGRAM)
    line = (
        f"set -o pipefail; {program} export social --store {sqlite_store} "
        f"| {program} import - --pipeline copy --json --store {HERE}"
    )
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["key"]["pipeline"] == "copy"


def test_what_can_not_be_done_leaves_no_file(folder: Path, sqlite_store: str) -> None:
    done = call("export", "nowhere", "-o", "out.jsonl", store=sqlite_store)
    assert done.returncode == 2
    assert list(folder.iterdir()) == []
    done = call("export", "social", "-o", "nowhere/out.jsonl", store=sqlite_store)
    assert done.returncode == 2
    assert "can't be written" in done.stderr
    Path("bad.jsonl").write_text("{}\n")
    done = call("import", "bad.jsonl", "--json", store=sqlite_store)
    assert done.returncode in (1, 2)
    assert json.loads(done.stderr)["error"]["message"]
