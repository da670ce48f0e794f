"""States as stores out there hold them, one file per schema version, kept for ever.

When the sample's schema gets a new version, add its file (``python -m
tests.migrations.test_golden_states`` prints it) and its digest below; never change one.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import belaypin
from belaypin import Schema, SchemaTooNew
from belaypin.codec import decode_frame, dump_state, encode_frame
from belaypin.schema import read_state

GOLDEN = Path(__file__).parent / "golden"

DIGESTS = {
    "crawl-0": "b74945a3a2935d9e",
    "crawl-1": "e09872de514a44b8",
    "crawl-2": "dd18074f8e321f07",
    "crawl-2-compressed": "7d9fe3dc7407ceaf",
    "crawl-3": "f5aa099a251b84a6",
}


class Crawl(msgspec.Struct):
    """The newest shape of the sample."""

    pages: int
    hosts: dict[str, int]
    note: str | None = None


SCHEMA = Schema(
    3,
    {
        0: lambda data: {"page": data[0], "host": data[1]},
        1: lambda data: {"pages": data["page"] + 1, "hosts": [data["host"]]},
        2: lambda data: {**data, "hosts": dict.fromkeys(data["hosts"], data["pages"])},
    },
)
NOTE = "a note that is long enough to be compressed; " * 6
WRITTEN: dict[str, Any] = {  # as each version of the code wrote it
    "crawl-0": [3, "example.org"],
    "crawl-1": {"page": 3, "host": "example.org"},
    "crawl-2": {"pages": 4, "hosts": ["example.org"]},
    "crawl-2-compressed": {"pages": 4, "hosts": ["example.org"], "note": NOTE},
    "crawl-3": Crawl(4, {"example.org": 4}),
}


def golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text(encoding="ascii"))


def version(name: str) -> int:
    return int(name.split("-")[1])


@pytest.mark.parametrize("name", DIGESTS)
def test_no_golden_file_ever_changes(name: str) -> None:
    assert hashlib.sha256(golden(name)).hexdigest()[:16] == DIGESTS[name]


def test_there_is_one_for_each_version() -> None:
    assert {path.stem for path in GOLDEN.glob("*.hex")} == set(DIGESTS) == set(WRITTEN)
    assert {version(name) for name in DIGESTS} == {*range(SCHEMA.version + 1)}


@pytest.mark.parametrize("name", DIGESTS)
def test_each_is_read_as_the_newest_shape(name: str) -> None:
    note = NOTE if "compressed" in name else None
    read = read_state(golden(name), version(name), Crawl, SCHEMA, what=name)
    assert read == Crawl(4, {"example.org": 4}, note)


@pytest.mark.parametrize("name", DIGESTS)
def test_each_was_written_by_the_codec_that_we_have(name: str) -> None:
    raw = dump_state(WRITTEN[name])
    assert decode_frame(golden(name), what=name) == (raw, version(name))
    if "compressed" not in name:  # what zstd makes of it may differ with its version
        assert encode_frame(raw, schema_version=version(name)) == golden(name)


@pytest.mark.parametrize("name", [name for name in DIGESTS if version(name) > 1])
def test_old_code_refuses_each_that_is_newer(name: str) -> None:
    old = Schema(1, {0: SCHEMA.upcasts[0]})
    with pytest.raises(SchemaTooNew, match=f"version {version(name)}, .* up to 1"):
        read_state(golden(name), version(name), object, old, what=name)


def test_a_store_full_of_them_is_upcast_in_bulk() -> None:
    with belaypin.open("sqlite:///:memory:") as store:
        for name in DIGESTS:
            store.save(("crawl", name), None)
            store.execute(
                "UPDATE belaypin_checkpoint SET state = ?, schema_version = ? WHERE entity = ?",
                (golden(name), version(name), name),
            )
        report = store.upcast_states("crawl", Crawl, SCHEMA, dry_run=False)
        assert (report.upcast, report.current, report.is_complete) == (4, 1, True)
        for name in DIGESTS:
            found = store.load(("crawl", name), Crawl, schema=SCHEMA)
            assert found is not None
            assert (found.state.pages, found.schema_version) == (4, 3)
        kept = store.execute("SELECT state FROM belaypin_original").rows
        assert sorted(row[0] for row in kept) == sorted(
            golden(n) for n in DIGESTS if n != "crawl-3"
        )


if __name__ == "__main__":
    for sample, state in WRITTEN.items():
        frame = encode_frame(dump_state(state), schema_version=version(sample))
        sys.stdout.write(f"{sample} {hashlib.sha256(frame).hexdigest()[:16]} {frame.hex()}\n")
