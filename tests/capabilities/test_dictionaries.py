"""Trained dictionaries: small states get smaller, and every process reads every one of them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import pytest

import belaypin
from belaypin import CorruptRecord, Schema, UsageError, dictionaries
from belaypin.codec import dictionary_of
from belaypin.programs.dictionaries import recompress
from tests.capabilities.sites import Site
from tests.crash.source import find_dump

PIPELINE = "social"
FILES = ["file", "postgres"]
OUTSIDE = Path(__file__).with_name("stale_reader.py")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Each test is a new process, as far as dictionaries go."""
    dictionaries._known.clear()
    yield
    dictionaries._known.clear()


def profiles() -> list[dict[str, str]]:
    rows = ElementTree.parse(find_dump().folder / "Users.xml").getroot()
    return [dict(row.attrib) for row in rows][:200]


PROFILES = profiles()
KEYS = [(PIPELINE, f"user:{each['Id']}") for each in PROFILES]


async def filled(site: Site) -> Any:
    store = await site.open()
    for key, profile in zip(KEYS, PROFILES, strict=True):
        await store.save(key, profile)
    return store


async def frames(site: Site) -> list[bytes]:
    query = "SELECT state FROM belaypin_checkpoint WHERE state IS NOT NULL ORDER BY key_id"
    return [bytes(state) for (state,) in await site.query(query)]


async def check_all(store: Any) -> None:
    for key, profile in zip(KEYS, PROFILES, strict=True):
        assert (await store.load(key)).state == profile


# --- smaller --------------------------------------------------------------------------------------


async def test_profiles_get_smaller_when_they_are_saved_again(site: Site) -> None:
    store = await filled(site)
    before = await frames(site)
    report = await store.train_dictionary(PIPELINE)
    assert await frames(site) == before  # those that exist wait for their next save
    await check_all(store)
    for key, profile in zip(KEYS, PROFILES, strict=True):
        await store.save(key, profile)
    after = await frames(site)
    assert {dictionary_of(frame) for frame in after} == {report.dictionary_id}
    assert sum(map(len, after)) * 1.3 < sum(map(len, before))
    dictionaries._known.clear()
    await check_all(store)
    assert (await store.verify()).ok


@pytest.mark.parametrize("database", FILES)
async def test_the_report_tells_what_unseen_states_gain(site: Site) -> None:
    store = await filled(site)
    report = await store.train_dictionary(PIPELINE, sample=len(PROFILES) - 2)
    assert report.states == len(PROFILES) - 2
    assert report.measured == -(-report.states // 5)
    assert report.ratio == report.bytes_before / report.bytes_after > 1.2
    assert "times smaller; stored" in str(report)
    (entry,) = await store.audit()
    assert (entry.action, entry.key) == ("train_dictionary", belaypin.Key(PIPELINE))
    assert entry.detail["dictionary_id"] == str(report.dictionary_id)


@pytest.mark.parametrize("database", FILES)
async def test_a_dry_run_changes_nothing(site: Site) -> None:
    store = await filled(site)
    report = await store.train_dictionary(PIPELINE, dry_run=True)
    assert report.is_worth_it
    assert report.dictionary_id is None
    await store.save(KEYS[0], PROFILES[0])
    assert all(dictionary_of(frame) is None for frame in await frames(site))
    assert await store.audit() == []


@pytest.mark.parametrize("database", ["file"])
async def test_too_few_states_teach_nothing(site: Site) -> None:
    store = await site.open()
    with pytest.raises(UsageError, match="0 states .* are not enough"):
        await store.train_dictionary(PIPELINE)
    await store.save(KEYS[0], PROFILES[0])
    with pytest.raises(UsageError, match="Nothing was changed"):
        await store.train_dictionary(PIPELINE, "posts")


@pytest.mark.parametrize("database", ["memory"])
async def test_what_gains_too_little_is_not_stored(site: Site) -> None:
    store = await site.open()
    chance = random.Random(7)
    for n in range(100):
        await store.save((PIPELINE, f"user:{n}"), chance.randbytes(300).hex())
    report = await store.train_dictionary(PIPELINE)
    assert report.dictionary_id is None
    assert not report.is_worth_it
    assert "not stored, as it gains too little" in str(report)


async def test_states_that_exist_can_be_made_smaller_at_once(site: Site) -> None:
    store = await filled(site)
    with pytest.raises(UsageError, match="train_dictionary"):
        await store.recompress_states(PIPELINE)
    report = await store.train_dictionary(PIPELINE)
    versions = await site.query("SELECT version, updated_us FROM belaypin_checkpoint ORDER BY 1, 2")
    stale = await frames(site)
    await store.save(KEYS[0], {"Id": "a later one"})
    assert await store.recompress_states(PIPELINE) == len(KEYS) - 1
    assert {dictionary_of(frame) for frame in (await frames(site))[1:]} == {report.dictionary_id}
    assert await store.recompress_states(PIPELINE) == 0
    assert (await store.load(KEYS[0])).state == {"Id": "a later one"}
    await store.save(KEYS[0], PROFILES[0], expected_version=2)
    assert await store._run(recompress(report.dictionary_id, list(enumerate(stale, 1)))) == 0
    dictionaries._known.clear()
    await check_all(store)
    after = await site.query("SELECT version, updated_us FROM belaypin_checkpoint ORDER BY 1, 2")
    assert after[:-1] == versions[1:]


async def test_a_damaged_state_stops_neither_training_nor_recompression(site: Site) -> None:
    store = await filled(site)
    await site.query(
        "UPDATE belaypin_checkpoint SET state = ? WHERE entity = ? RETURNING 1",
        (b"damaged, and long enough to be a frame", KEYS[3][1]),
    )
    report = await store.train_dictionary(PIPELINE)
    assert report.states == len(KEYS) - 1
    assert await store.recompress_states(PIPELINE) == len(KEYS) - 1
    assert [f.kind for f in (await store.verify()).findings] == ["state-corrupt"]


# --- of one kind ----------------------------------------------------------------------------------


@pytest.mark.parametrize("database", FILES)
async def test_only_the_kind_it_was_trained_for_is_saved_with_it(site: Site) -> None:
    store = await filled(site)
    await store.train_dictionary(PIPELINE)
    others = [(PIPELINE,), (PIPELINE, "user:1", "posts"), ("other", "user:1")]
    for key in others:
        await store.save(key, PROFILES[0])
    small = {"Id": "9"}
    large = {f"field {n}": f"{n * 7919}" * 9 for n in range(900)}
    for name, state in (("small", small), ("large", large)):
        await store.save((PIPELINE, name), state)
    *_, by_pipeline, by_stream, by_other, by_small, by_large = await frames(site)
    for frame in (by_pipeline, by_stream, by_other, by_large):
        assert dictionary_of(frame) is None
    assert dictionary_of(by_small) is None  # 20 bytes raw: a dictionary's name alone takes eight
    assert (await store.load((PIPELINE, "large"))).state == large


@pytest.mark.parametrize("database", FILES)
async def test_the_newest_dictionary_counts_and_older_ones_are_kept(site: Site) -> None:
    store = await filled(site)
    first = await store.train_dictionary(PIPELINE)
    await store.save(KEYS[0], PROFILES[0])
    for number in range(150):
        state = {"shape": "another", "cursor": f"{number * 7919:x}", "pages": [number] * 9}
        await store.save((PIPELINE, f"page:{number}"), state)
    second = await store.train_dictionary(PIPELINE)
    assert first.dictionary_id != second.dictionary_id
    await store.save(KEYS[1], PROFILES[1])
    found = await frames(site)
    assert dictionary_of(found[0]) == first.dictionary_id
    assert dictionary_of(found[1]) == second.dictionary_id
    dictionaries._known.clear()
    await check_all(store)
    again = await store.train_dictionary(PIPELINE)  # from the same states: the same content
    assert again.dictionary_id == second.dictionary_id
    assert await site.query("SELECT count(*) FROM belaypin_dictionary") == [(2,)]


# --- everything that writes or reads a state --------------------------------------------------------


class Profile:
    is_complete = False

    def __init__(self) -> None:
        self.state: dict[str, str] = {}

    def snapshot(self) -> dict[str, str]:
        return self.state

    def restore(self, state: dict[str, str]) -> None:
        self.state = state


@pytest.mark.parametrize("database", FILES)
async def test_components_are_saved_and_restored_with_it(site: Site) -> None:
    store = await site.open()
    for key, profile in zip(KEYS, PROFILES, strict=True):
        await store.save((*key, "profile"), profile)
    await store.train_dictionary(PIPELINE, "profile")
    async with store.lease(*KEYS[3]) as lease:
        component = await lease.attach("profile", Profile())
        async with lease.changed("page", 1):
            component.state = {**PROFILES[3], "Views": "7"}
    assert dictionary_of((await frames(site))[3]) is not None
    dictionaries._known.clear()
    async with store.lease(*KEYS[3]) as lease:
        assert (await lease.attach("profile", Profile())).state["Views"] == "7"


@pytest.mark.parametrize("database", FILES)
async def test_states_are_upcast_and_their_originals_kept(site: Site) -> None:
    store = await filled(site)
    await store.train_dictionary(PIPELINE)
    for key, profile in zip(KEYS, PROFILES, strict=True):
        await store.save(key, profile)
    schema = Schema(1, {0: lambda data: {**data, "Views": int(data["Views"])}})
    dictionaries._known.clear()
    report = await store.upcast_states(PIPELINE, dict, schema, dry_run=False)
    assert (report.upcast, report.failed) == (len(PROFILES), 0)
    assert all(dictionary_of(frame) is not None for frame in await frames(site))
    dictionaries._known.clear()
    assert (await store.originals(KEYS[0]))[0].state == PROFILES[0]
    views = (await store.load(KEYS[0], schema=schema)).state["Views"]
    assert views == int(PROFILES[0]["Views"])


class Other:
    """A process that opened the store before there was any dictionary."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, str(OUTSIDE), url, PIPELINE]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=20)
        assert self._process.returncode == 0

    def read_all(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "read\n"


@pytest.mark.parametrize("database", FILES)
async def test_two_processes_of_which_one_has_an_old_idea_read_everything(site: Site) -> None:
    store = await filled(site)
    with Other(site.url) as other:
        other.read_all()  # without a dictionary
        for _ in range(2):
            await store.train_dictionary(PIPELINE)
            for key, profile in list(zip(KEYS, PROFILES, strict=True))[::2]:
                await store.save(key, profile)
            other.read_all()  # with one; and it saves what it has read
            await check_all(store)


# --- damage ---------------------------------------------------------------------------------------


async def compressed(site: Site) -> tuple[Any, int]:
    store = await filled(site)
    report = await store.train_dictionary(PIPELINE)
    for key, profile in zip(KEYS, PROFILES, strict=True):
        await store.save(key, profile)
    dictionaries._known.clear()
    return store, report.dictionary_id


@pytest.mark.parametrize("database", FILES)
async def test_a_missing_dictionary_is_named(site: Site) -> None:
    store, name = await compressed(site)
    await site.query("DELETE FROM belaypin_dictionary RETURNING 1")
    with pytest.raises(CorruptRecord, match=rf"user:-1 is damaged: its dictionary {name} is not"):
        await store.load(KEYS[0])
    report = await store.verify()
    assert len(report.findings) == len(PROFILES)
    assert {finding.kind for finding in report.findings} == {"state-corrupt"}
    assert f"{name}" in report.findings[0].problem
    await store.save(KEYS[0], PROFILES[0])  # without it
    assert (await store.load(KEYS[0])).state == PROFILES[0]


@pytest.mark.parametrize("database", FILES)
@pytest.mark.parametrize("column", ["payload", "content", "pipeline", "stream"])
async def test_a_dictionary_that_was_changed_is_not_trusted(site: Site, column: str) -> None:
    store, name = await compressed(site)
    if column == "payload":  # an intact frame with another content
        ((good,),) = await site.query("SELECT payload FROM belaypin_dictionary")
        content = belaypin.codec.decode_frame(bytes(good), what="it").raw
        changed: Any = belaypin.codec.encode_frame(content[:-1] + b"!")
    elif column == "content":  # one that is no dictionary at all
        column, changed = "payload", belaypin.codec.encode_frame(b"no dictionary")
    else:
        changed = "other"
    await site.query(f"UPDATE belaypin_dictionary SET {column} = ? RETURNING 1", (changed,))
    with pytest.raises(CorruptRecord, match=f"dictionary {name}"):
        await store.load(KEYS[0])
    kinds = [finding.kind for finding in (await store.verify()).findings]
    assert kinds.count("dictionary-corrupt") == 1
    assert set(kinds) == {"dictionary-corrupt", "state-corrupt"}
    assert dictionaries.known(name) is None
    await store.save(KEYS[0], PROFILES[0])
    assert (await store.load(KEYS[0])).state == PROFILES[0]


@pytest.mark.parametrize("database", ["memory"])
async def test_no_bit_of_a_stored_dictionary_flips_unseen(site: Site) -> None:
    store, _ = await compressed(site)
    ((good,),) = await site.query("SELECT payload FROM belaypin_dictionary")
    for bit in range(0, len(good) * 8, 41):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        await site.query("UPDATE belaypin_dictionary SET payload = ?", (bytes(bad),))
        with pytest.raises(CorruptRecord):
            await store.load(KEYS[0])
