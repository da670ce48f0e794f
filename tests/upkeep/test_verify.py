"""verify: silent on every sound store; names each kind of damage, and nothing else."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from belaypin.codec import encode_frame
from belaypin.programs import inspection, recount, upkeep
from tests.upkeep.calls import call_async, call_sync
from tests.upkeep.pipelines import change, healthy, in_style, mine, one

pytestmark = pytest.mark.usefixtures("small_fan_out")

Store = belaypin.Store
KEY_ID = "(SELECT key_id FROM belaypin_checkpoint WHERE entity = 'user:1' AND stream = 'posts')"
PRINTS = "(SELECT key_id FROM belaypin_checkpoint WHERE entity = 'user:3' AND stream = 'posts')"
LEASE = "key_id = (SELECT key_id FROM belaypin_checkpoint WHERE entity = 'user:1' AND stream = '')"
ROW = f"UPDATE belaypin_checkpoint SET {{}} WHERE key_id = {KEY_ID}"
LAST = (
    f"key_id = {KEY_ID} AND seq = (SELECT MAX(seq) FROM belaypin_segment WHERE key_id = {KEY_ID})"
)


def kinds(report: belaypin.Report) -> list[str]:
    return [finding.kind for finding in report.findings]


def flip(store: Store, table: str, column: str, where: str) -> None:
    """Change one bit in the middle of a framed record."""
    framed = bytearray(one(store, f"SELECT {column} FROM {table} WHERE {where}"))
    framed[len(framed) // 2] ^= 1
    change(store, f"UPDATE {table} SET {column} = ? WHERE {where}", [bytes(framed)])


# --- sound stores -------------------------------------------------------------------------------


def test_an_empty_store_is_sound(store: Store) -> None:
    report = store.verify()
    assert (report.ok, report.findings, report.keys) == (True, (), 0)


def test_a_sound_store_has_no_findings(store: Store) -> None:
    healthy(store)
    report = store.verify()
    assert str(report).startswith("sound: ")
    counted = (report.keys, report.items, report.leases, report.operations, report.intervals)
    # user:3 was committed in two editions, partly merged; the others are there once.
    assert (counted[0], counted[2:]) == (12, (4, 3, 3))
    assert 12 * 5 + 7 * 5 + 9 * 5 + 3 * 5 <= counted[1] <= 12 * 5 + 7 * 5 + 9 * 10 + 3 * 5


def test_a_report_is_text_and_json(store: Store) -> None:
    healthy(store)
    change(store, ROW.format("items = items + 1"))
    report = store.verify()
    document = json.loads(json.dumps(report.as_dict()))
    assert document["ok"] is False
    assert document["findings"][0]["kind"] == "items-differ"
    assert document["findings"][0]["key"]["entity"] == "user:1"
    headline, line = str(report).splitlines()
    assert headline.startswith("1 errors, 0 warnings: ")
    assert line.startswith("error items-differ: social / user:1 / posts, ledger: ")


def test_a_scope_reads_its_own_keys_only(store: Store) -> None:
    healthy(store)
    change(store, ROW.format("items = items + 1"))
    assert kinds(store.verify(pipeline="social")) == ["items-differ"]
    assert kinds(store.verify(pipeline="social", entity="user:1")) == ["items-differ"]
    assert store.verify(pipeline="social", entity="user:2").ok
    shop = store.verify(pipeline="shop")
    assert (shop.ok, shop.keys) == (True, 2)
    with pytest.raises(belaypin.UsageError):
        store.verify(entity="user:1")
    with pytest.raises(belaypin.UsageError):
        store.verify(pipeline="")


def test_verify_changes_nothing(url: str, call: Callable[..., Any]) -> None:
    def dump(store: Store) -> list[Any]:
        tables = ("checkpoint", "lease", "segment", "coverage", "operation")
        return [store.execute(f"SELECT * FROM belaypin_{t} ORDER BY 1, 2").rows for t in tables]

    with belaypin.open(url) as store:
        healthy(store)
        before = dump(store)
        report = call(url, "verify")
        assert report.ok
        assert report.findings == ()
        assert dump(store) == before


@pytest.mark.parametrize(("short", "keys"), [(0, 1), (0, 2), (7, 3), (1_000, 7)])
def test_many_keys_come_in_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch, short: int, keys: int
) -> None:
    monkeypatch.setattr(upkeep, "_PAGE_KEYS", keys)
    monkeypatch.setattr(upkeep, "_PAGE_OPERATIONS", 3)
    monkeypatch.setattr(upkeep, "_PAGE_SEGMENTS", 1)
    monkeypatch.setattr(upkeep, "_ORPHAN_KEY_IDS", 2)
    monkeypatch.setattr(upkeep, "_SHORT_SEQ", short)
    healthy(store)
    for number in range(7):
        store.save(("many", f"entity:{number}"), {"n": number})
        with store.once(f"call:{number}") as op:
            op.result = number
    report = store.verify()
    assert (report.findings, report.keys, report.operations) == ((), 19, 10)
    assert store.verify(pipeline="many").keys == 7


KILLED = """
import os, signal, sys
import belaypin
from belaypin.programs import ledger
from tests.upkeep.calls import call_async, call_sync
from tests.upkeep.pipelines import mine

ledger.FAN_OUT = 4
store = belaypin.open(sys.argv[1])
mine(store, pages=40, stop_after=int(sys.argv[2]))
lease = store.lease("social", "user:7")
lease.acquire()
for window in lease.windows("posts", since="30d"):
    for page in window.pages(lambda cursor: ([{"id": f"late-{cursor or 0}"}], (cursor or 0) + 1)):
        with page.commit() as tx:
            tx.fresh(page.items, key="id")
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_store_whose_workers_were_killed_is_sound(url: str, call: Callable[..., Any]) -> None:
    for number in (3, 5, 9):
        run = subprocess.run([sys.executable, "-c", KILLED, url, str(number)], check=False)
        assert run.returncode == -signal.SIGKILL
        report = call(url, "verify")
        assert report.findings == ()
        assert report.items >= number * 5


def test_verify_beside_live_workers_finds_nothing(url: str) -> None:
    stop = threading.Event()

    def work(name: str) -> None:
        with belaypin.open(url) as store:
            edition = 0
            while not stop.is_set():
                edition += 1
                mine(store, name, pages=8, edition=str(edition))
                mine(store, f"{name}-{edition}", pages=8)

    threads = [threading.Thread(target=work, args=(f"user:{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    try:
        with belaypin.open(url) as store:
            reports = [store.verify() for _ in range(10)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [report.findings for report in reports] == [()] * 10
    with belaypin.open(url) as store:
        last = store.verify()
    assert (last.findings, last.unsettled) == ((), ())


def test_a_stream_that_never_stands_still_is_unsettled(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_PAGE_SEGMENTS", 1)
    monkeypatch.setattr(upkeep, "_SHORT_SEQ", 0)
    with belaypin.open(url) as store, belaypin.open(url) as worker:
        mine(store, pages=9)
        taken = recount.Recount.take
        commits = 0

        def take_while_working(self: recount.Recount, page: upkeep.LedgerPage) -> None:
            nonlocal commits
            commits += 1
            taken(self, page)
            mine(worker, pages=10 + commits)

        monkeypatch.setattr(recount.Recount, "take", take_while_working)
        report = store.verify()
        assert report.ok
        assert report.unsettled == (belaypin.Key("social", "user:7", "posts"),)
        assert "not settled" in str(report)


def test_a_ledger_larger_than_memory_is_counted_in_shares(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy(store)
    monkeypatch.setattr(upkeep, "_SHORT_SEQ", 0)
    monkeypatch.setattr(recount.Recount.__init__, "__defaults__", (7,))
    assert store.verify().findings == ()
    change(store, ROW.format("items = items + 1"))
    assert kinds(store.verify()) == ["items-differ"]


# --- damage -------------------------------------------------------------------------------------


def spoil_history(store: Store) -> None:
    store.save(("shop", "till:1"), {"pages": 4})
    flip(store, "belaypin_history", "state", "version = 1")


DAMAGE: list[tuple[str, str | Callable[[Store], None]]] = [
    ("state-corrupt", lambda s: flip(s, "belaypin_checkpoint", "state", "entity = 'till:1'")),
    ("state-corrupt", lambda s: flip(s, "belaypin_checkpoint", "state", "entity = 'till:2'")),
    (
        "state-corrupt",  # a sound frame around what is no JSON
        lambda s: change(
            s,
            "UPDATE belaypin_checkpoint SET state = ? WHERE entity = 'till:1'",
            [encode_frame(b"{")],
        ),
    ),
    (
        "result-corrupt",
        lambda s: flip(s, "belaypin_operation", "result", "operation_id = 'invoice:1'"),
    ),
    (
        "result-corrupt",
        lambda s: flip(s, "belaypin_operation", "result", "operation_id = 'invoice:2'"),
    ),
    ("segment-corrupt", lambda s: flip(s, "belaypin_segment", "payload", LAST)),
    (
        "segment-corrupt",  # sound frames around what are no ids
        lambda s: change(
            s, f"UPDATE belaypin_segment SET payload = ? WHERE {LAST}", [encode_frame(b"i\x00abc")]
        ),
    ),
    (
        "segment-corrupt",
        lambda s: change(
            s,
            f"UPDATE belaypin_segment SET payload = ? WHERE {LAST}",
            [encode_frame(b"s\x00\x02\x00\x00\x00b\0a")],
        ),
    ),
    ("segment-disagrees", f"UPDATE belaypin_segment SET items = items + 1 WHERE {LAST}"),
    ("segment-disagrees", f"UPDATE belaypin_segment SET raw_bytes = 1 WHERE {LAST}"),
    ("segment-disagrees", f"UPDATE belaypin_segment SET low = high WHERE {LAST}"),
    ("segment-disagrees", f"UPDATE belaypin_segment SET high = low WHERE {LAST}"),
    ("segment-generation", f"UPDATE belaypin_segment SET generation = 2 WHERE {LAST}"),
    ("segment-impossible", f"UPDATE belaypin_segment SET token = 0 WHERE {LAST}"),
    ("segment-beyond-head", ROW.format("head_seq = head_seq - 1")),
    ("items-differ", ROW.format("items = items + 1")),
    ("items-differ", f"DELETE FROM belaypin_segment WHERE {LAST}"),
    (
        "id-twice",
        "INSERT INTO belaypin_segment SELECT key_id, 1, generation, level, items, low, high, "
        f"raw_bytes, token, created_us, payload, NULL FROM belaypin_segment WHERE {LAST}",
    ),
    ("checkpoint-impossible", ROW.format("skipped = -1")),
    ("checkpoint-impossible", ROW.format("attempts = -1, late = -5")),
    ("window-unreadable", ROW.format("progress = '{\"main\": 7}'")),
    ("window-unreadable", ROW.format("progress = '{'")),
    (
        "window-unreadable",
        ROW.format(
            'progress = \'{"main":{"start_us":9,"end_us":3,"is_head":true,"covered_to_us":0}}\''
        ),
    ),
    (
        "content-hash",
        "UPDATE belaypin_checkpoint SET content_hash = 'md5' WHERE stream = 'profile'",
    ),
    (
        "content-hash",
        "UPDATE belaypin_checkpoint SET last_seen_us = NULL WHERE stream = 'profile'",
    ),
    ("content-hash", "UPDATE belaypin_checkpoint SET content_hash = NULL WHERE stream = 'profile'"),
    ("key-unreadable", "UPDATE belaypin_checkpoint SET pipeline = '' WHERE entity = 'till:1'"),
    ("coverage-empty", f"UPDATE belaypin_coverage SET end_us = start_us WHERE key_id = {KEY_ID}"),
    (
        "coverage-empty",
        f"UPDATE belaypin_coverage SET end_us = 9223372036854775807 WHERE key_id = {KEY_ID}",
    ),
    ("coverage-generation", f"UPDATE belaypin_coverage SET generation = 2 WHERE key_id = {KEY_ID}"),
    (
        "coverage-touching",
        "INSERT INTO belaypin_coverage SELECT key_id, generation, end_us, end_us + 5 "
        f"FROM belaypin_coverage WHERE key_id = {KEY_ID}",
    ),
    (
        "coverage-touching",
        "INSERT INTO belaypin_coverage SELECT key_id, generation, start_us + 1, start_us + 5 "
        f"FROM belaypin_coverage WHERE key_id = {KEY_ID}",
    ),
    ("lease-token", f"UPDATE belaypin_lease SET token = 0 WHERE {LEASE}"),
    ("lease-expiry", f"UPDATE belaypin_lease SET expires_us = 5 WHERE {LEASE}"),
    ("lease-expiry", f"UPDATE belaypin_lease SET ttl_us = -1 WHERE {LEASE}"),
    (
        "lease-ahead-of-clock",
        f"UPDATE belaypin_lease SET renewed_us = 3 * renewed_us / 2, "
        f"expires_us = 3 * renewed_us / 2 + ttl_us WHERE {LEASE}",
    ),
    (
        "operation-incomplete",
        "UPDATE belaypin_operation SET result = NULL WHERE operation_id = 'invoice:1'",
    ),
    (
        "operation-incomplete",
        "UPDATE belaypin_operation SET status = 'failed' WHERE operation_id = 'invoice:1'",
    ),
    (
        "operation-impossible",
        "UPDATE belaypin_operation SET token = 0 WHERE operation_id = 'invoice:1'",
    ),
    (
        "operation-abandoned",
        "UPDATE belaypin_operation SET status = 'running', result = NULL, completed_us = NULL, "
        "expires_us = 5 WHERE operation_id = 'invoice:1'",
    ),
    (
        "operation-incomplete",
        "UPDATE belaypin_operation SET result_expires_us = 2 * updated_us "
        "WHERE operation_id = 'invoice:3'",
    ),
    (
        "message-corrupt",
        lambda store: flip(store, "belaypin_outbox", "payload", "message_key = 'invoice:3'"),
    ),
    (
        "message-corrupt",
        lambda store: flip(store, "belaypin_outbox", "payload", "message_key = 'invoice:4'"),
    ),
    (
        "message-impossible",
        "UPDATE belaypin_outbox SET status = 'waiting' WHERE message_key = 'invoice:3'",
    ),
    (
        "message-impossible",
        "UPDATE belaypin_outbox SET attempts = -1 WHERE message_key = 'invoice:4'",
    ),
    (
        "dictionary-corrupt",
        lambda s: change(
            s,
            "INSERT INTO belaypin_dictionary VALUES (7, 'shop', '', 1, 1, ?)",
            [encode_frame(b"of another kind")],
        ),
    ),
    ("orphan-attempts", "DELETE FROM belaypin_operation WHERE operation_id = 'invoice:1'"),
    (
        "orphan-segments",
        "INSERT INTO belaypin_segment SELECT 987654321987, seq, generation, level, items, low, high, "
        f"raw_bytes, token, created_us, payload, NULL FROM belaypin_segment WHERE {LAST}",
    ),
    ("orphan-coverage", "INSERT INTO belaypin_coverage VALUES (-5, 1, 3, 4)"),
    ("orphan-leases", "INSERT INTO belaypin_lease VALUES (5000, 'main', 'o', 1, 1, 1, 1, 2, 0)"),
    ("open-flag", "UPDATE belaypin_checkpoint SET is_open = 1 - is_open WHERE stream = 'profile'"),
    ("history-corrupt", lambda store: spoil_history(store)),
    ("orphan-failure", "UPDATE belaypin_failure SET key_id = 5000"),
    ("failure-corrupt", lambda store: flip(store, "belaypin_failure", "payload", "attempts = 1")),
    ("failure-uncounted", "UPDATE belaypin_checkpoint SET failures = 0"),
    (
        "failure-covered",
        "UPDATE belaypin_failure SET event_us = (SELECT MIN(start_us) FROM belaypin_coverage "
        "WHERE key_id = belaypin_failure.key_id)",
    ),
]


@pytest.mark.parametrize(
    ("kind", "damage"), DAMAGE, ids=[f"{n}-{kind}" for n, (kind, _) in enumerate(DAMAGE)]
)
def test_damage_is_named_and_nothing_else(
    url: str, kind: str, damage: str | Callable[[Store], None]
) -> None:
    with belaypin.open(url) as store:
        healthy(store)
        if isinstance(damage, str):
            change(store, damage)
        else:
            damage(store)
    report = call_sync(url, "verify")
    assert call_async(url, "verify").findings == report.findings
    assert kinds(report) == [kind]
    finding = report.findings[0]
    assert report.ok == (finding.severity == "warning")
    assert finding.problem
    assert finding.advice
    assert kind in str(report)


def test_each_kind_of_finding_is_tried() -> None:
    import ast
    import inspect

    written: set[str] = set()
    for module in (inspection, recount):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            match node:
                case ast.Call(
                    func=ast.Name(id="error" | "warning" | "_bad_interval" | "_framed_json"),
                    args=[*args],
                ):
                    written.update(str(a.value) for a in args if isinstance(a, ast.Constant))
    known_elsewhere = {"column-type", "newer-record"}
    written = {word for word in written if re.fullmatch("[a-z]+(-[a-z]+)+", word)}
    assert written
    assert written - known_elsewhere <= {kind for kind, _ in DAMAGE}


def test_a_newer_record_is_no_damage(store: Store) -> None:
    healthy(store)
    framed = bytearray(one(store, f"SELECT payload FROM belaypin_segment WHERE {LAST}"))
    framed[2] = 99  # the frame's version
    header, payload = bytes(framed[:12]), bytes(framed[20:])
    from hashlib import blake2b

    checksum = blake2b(header, digest_size=8)
    checksum.update(payload)
    newer = header + checksum.digest() + payload
    change(store, f"UPDATE belaypin_segment SET payload = ? WHERE {LAST}", [newer])
    report = store.verify()
    assert (kinds(report), report.ok) == (["newer-record"], True)


def test_a_column_of_another_type_is_named(tmp_path: Any) -> None:
    with belaypin.open(f"sqlite:///{tmp_path}/app.db") as store:
        healthy(store)
        change(store, f"UPDATE belaypin_coverage SET end_us = 'soon' WHERE key_id = {KEY_ID}")
        change(store, f"UPDATE belaypin_lease SET token = 'none' WHERE {LEASE}")
        change(store, f"UPDATE belaypin_segment SET items = 'many' WHERE {LAST}")
        change(store, "UPDATE belaypin_checkpoint SET state = 'text' WHERE entity = 'till:1'")
        found = sorted(kinds(store.verify()))
    assert found == ["column-type", "column-type", "segment-disagrees", "state-corrupt"]


def test_findings_beyond_the_limit_are_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from belaypin._sync import upkeep as driver

    monkeypatch.setattr(driver, "_MAX_FINDINGS", 2)
    healthy(store)
    change(store, "UPDATE belaypin_checkpoint SET attempts = -1")
    report = store.verify()
    assert (len(report.findings), report.unlisted, report.ok) == (2, 10, False)
    assert "and 10 more" in str(report)


@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_segment_is_found(position: int, bit: int) -> None:
    with belaypin.open("sqlite:///:memory:") as store:
        mine(store, pages=2)
        framed = bytearray(one(store, "SELECT payload FROM belaypin_segment WHERE seq = 1"))
        framed[position % len(framed)] ^= 1 << bit
        sql = in_style(store, "UPDATE belaypin_segment SET payload = ? WHERE seq = 1")
        store.execute(sql, [bytes(framed)])
        assert kinds(store.verify()) == ["segment-corrupt"]


@given(cut=st.integers(min_value=1))
def test_any_truncated_segment_is_found(cut: int) -> None:
    with belaypin.open("sqlite:///:memory:") as store:
        mine(store, pages=1)
        framed = bytes(one(store, "SELECT payload FROM belaypin_segment"))
        kept = framed[: -(cut % len(framed)) or -1]
        store.execute("UPDATE belaypin_segment SET payload = ?", [kept])
        assert kinds(store.verify()) == ["segment-corrupt"]
