"""Operations: attempts and their errors, results that expire, and functions whose calls are such."""

from __future__ import annotations

import inspect
import itertools
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from belaypin import (
    Fenced,
    OperationRunning,
    RequestMismatch,
    SqlError,
    UsageError,
)
from belaypin.calls import IdTemplate
from belaypin.mishaps import MAX_ERROR_CHARS, MAX_TRACEBACK_CHARS
from belaypin.programs.operations import KEPT_ATTEMPTS
from tests.capabilities.sites import START, Awaited, FixedClock, Site

FILES = ["file", "postgres"]
EFFECT = "INSERT INTO effect VALUES (1)"


async def opened(site: Site, **options: Any) -> Any:
    store = await site.open(**options)
    await store.execute("CREATE TABLE IF NOT EXISTS effect (id INTEGER)")
    return store


def answer(op: Any, result: Any) -> None:
    """``op.result = result``, whatever the colour."""
    (op._thing if isinstance(op, Awaited) else op).result = result


async def effects(site: Site) -> int:
    count: int = (await site.query("SELECT count(*) FROM effect"))[0][0]
    return count


async def run(store: Any, name: str = "op", result: Any = 1, **options: Any) -> Any:
    async with store.once(name, **options) as op:
        if op:
            await op.tx.execute(EFFECT)
            answer(op, result)
    return op.result


async def fail(store: Any, error: BaseException, name: str = "op", **options: Any) -> None:
    async def attempt() -> None:
        async with store.once(name, **options) as op:
            assert op
            raise error

    with pytest.raises(type(error)):
        await attempt()


# --- attempts -------------------------------------------------------------------------------------


async def test_every_attempt_is_kept_with_its_error_and_its_times(site: Site) -> None:
    clock = FixedClock()
    store = await opened(site, clock=clock)
    assert await store.operation("op") is None
    await fail(store, ZeroDivisionError("no\0good"))
    clock.advance(60)
    async with store.once("op") as op:
        running = await _told(store, op)
        clock.advance(5)
        answer(op, {"lines": [1, None]})
    found = await store.operation("op")
    assert (found.id, found.status, found.attempt_count) == ("op", "done", 2)
    assert (found.error, found.traceback, found.result) == (None, None, {"lines": [1, None]})
    assert found.has_result
    assert not found.result_expired
    assert (found.created_at, found.duration) == (START, timedelta(seconds=65))
    first, second = found.attempts
    assert (first.number, first.outcome, first.error) == (
        1,
        "failed",
        "ZeroDivisionError: no\\0good",
    )
    assert "raise error" in first.traceback
    assert first.traceback.endswith("ZeroDivisionError: no\\0good")
    assert (second.number, second.outcome, second.error) == (2, "done", None)
    assert (first.duration, second.duration) == (timedelta(0), timedelta(seconds=5))
    assert second.owner != first.owner
    if running is not None:
        assert (running.status, running.attempts[1].outcome) == ("running", None)
        assert running.attempts[1].duration is None
        assert not running.has_result


async def _told(store: Any, op: Any) -> belaypin.Operation | None:
    found: belaypin.Operation | None = await store.operation(op.operation_id)
    return found


async def test_a_failed_operation_tells_why(site: Site) -> None:
    store = await opened(site)
    try:
        raise KeyError("the cause")
    except KeyError as cause:
        error = ValueError("x" * 40_000)
        error.__cause__ = cause
    await fail(store, error)
    found = await store.operation("op")
    assert found.status == "failed"
    assert not found.has_result
    assert found.error == f"ValueError: {'x' * 40_000}"[:MAX_ERROR_CHARS]
    assert found.error == found.attempts[0].error
    assert len(found.traceback) == MAX_TRACEBACK_CHARS
    await fail(store, ValueError("short"))
    assert "ValueError: short" in str(await store.operation("op"))


async def test_what_no_database_can_hold_is_kept_in_other_words(site: Site) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    store = await opened(site)
    for error in (ValueError("\ud800\0"), Mute()):
        await fail(store, error)
    found = await store.operation("op")
    assert found.status == "failed"
    first, second = found.attempts
    assert first.error == "ValueError: \\ud800\\0"
    assert second.error.startswith("Mute: ")


async def test_the_newest_attempts_are_kept(site: Site) -> None:
    store = await opened(site)
    for n in range(KEPT_ATTEMPTS + 3):
        await fail(store, ValueError(str(n)))
    found = await store.operation("op")
    assert found.attempt_count == KEPT_ATTEMPTS + 3
    assert [a.number for a in found.attempts] == list(range(4, KEPT_ATTEMPTS + 4))
    assert found.attempts[-1].error == f"ValueError: {KEPT_ATTEMPTS + 2}"
    rows = await site.query("SELECT count(*) FROM belaypin_attempt")
    assert rows == [(KEPT_ATTEMPTS,)]


@pytest.mark.parametrize("database", FILES)
async def test_a_joined_operation_keeps_its_attempts_as_well(site: Site) -> None:
    if site.colour == "async":
        return  # the connection of a user's own is a sync one here
    store = await opened(site)
    with site.user() as connection:
        async with store.joined(connection).once("op") as op:
            answer(op, 7)
        connection.commit()
    found = await store.operation("op")
    assert (found.result, [a.outcome for a in found.attempts]) == (7, ["done"])


# --- the mistakes that others make ----------------------------------------------------------------


async def test_the_effect_and_its_completion_are_one_commit(site: Site) -> None:
    store = await opened(site)

    async def stopped() -> None:
        async with store.once("op") as op:
            await op.tx.execute(EFFECT)
            answer(op, 1)
            raise SystemExit  # the effect is there, "completed" is not

    with pytest.raises(SystemExit):
        await stopped()
    assert (await effects(site), (await store.operation("op")).status) == (0, "failed")
    with pytest.raises(UsageError):
        await run(store, result=object())  # fails while it completes
    assert (await effects(site), (await store.operation("op")).status) == (0, "failed")
    await run(store)
    assert (await effects(site), (await store.operation("op")).status) == (1, "done")


@pytest.mark.parametrize("database", FILES)
async def test_an_operation_in_progress_is_not_simply_run_again(site: Site) -> None:
    store, other = await opened(site), await site.open()
    async with store.once("op") as op:
        for wait_s in (0, 0.1):
            with pytest.raises(OperationRunning, match="attempt 1"):
                await run(other, wait_s=wait_s)
        answer(op, "mine")
    assert await run(other, result="theirs") == "mine"
    assert (await effects(site), (await store.operation("op")).attempt_count) == (0, 1)


async def test_an_error_does_not_go_through_the_session_that_it_broke(site: Site) -> None:
    store = await opened(site)

    async def broken() -> None:
        async with store.once("op") as op:
            await op.tx.execute(EFFECT)
            await op.tx.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(SqlError, match="no_such_table") as raised:
        await broken()
    found = await store.operation("op")
    assert found.status == "failed"
    assert "no_such_table" in found.error
    assert found.attempts[0].error == f"SqlError: {raised.value}"
    assert (await run(store), await effects(site)) == (1, 1)


async def test_a_crash_in_the_first_attempt_is_recovered(site: Site) -> None:
    clock = FixedClock()
    store = await opened(site, clock=clock)
    dead = store.once("op", ttl_s=30)
    await dead.__aenter__()  # and never heard of again
    assert await site.query("SELECT count(*) FROM belaypin_attempt WHERE started_us IS NULL") == [
        (0,)
    ]
    clock.advance(31)
    assert await run(store, result="second") == "second"
    lost, done = (await store.operation("op")).attempts
    assert (lost.outcome, lost.traceback, lost.duration) == ("lost", None, timedelta(seconds=31))
    assert "attempt 2 took over" in lost.error
    assert done.outcome == "done"
    with pytest.raises(Fenced):
        await dead.__aexit__(None, None, None)
    assert [a.outcome for a in (await store.operation("op")).attempts] == ["lost", "done"]


async def test_one_id_never_stands_for_two_requests(site: Site) -> None:
    clock = FixedClock()
    store = await opened(site, clock=clock)
    await run(store, request={"total": 5}, result_ttl="1m")
    for _ in range(2):
        with pytest.raises(RequestMismatch):
            await run(store, request={"total": 6})
        clock.advance(120)  # that its result is gone makes no difference
    await store.drop_expired_results()
    with pytest.raises(RequestMismatch):
        await run(store, request={"total": 6})
    assert await effects(site) == 1


@pytest.mark.parametrize("database", FILES)
@pytest.mark.parametrize("colour", ["sync"])
async def test_two_threads_that_both_look_first_run_it_once(site: Site) -> None:
    await opened(site)
    ready = threading.Barrier(4)
    ran: list[str] = []

    def work(n: int) -> None:
        with belaypin.open(site.url) as store:
            for name in ("a", "b", "c"):
                ready.wait()
                with store.once(name, wait_s=20) as op:
                    if op:
                        ran.append(name)
                        op.tx.execute(EFFECT)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ran) == ["a", "b", "c"]
    assert await effects(site) == 3


PROCESS = """
import sys, belaypin
with belaypin.open(sys.argv[1]) as store:
    sys.stdin.readline()
    for name in "abcde":
        with store.once(name, wait_s=20) as op:
            if op:
                op.tx.execute("INSERT INTO effect VALUES (1)")
                op.result = name
        assert op.result == name
"""


def _in_processes(url: str, count: int) -> list[int]:
    """Start them all, then let them go at once; their exit codes."""
    command = [sys.executable, "-c", PROCESS, url]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(count)]
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate()
    return [worker.returncode for worker in workers]


@pytest.mark.parametrize("database", FILES)
@pytest.mark.parametrize("colour", ["sync"])
async def test_two_processes_that_both_look_first_run_it_once(site: Site) -> None:
    await opened(site)
    assert _in_processes(site.url, 2) == [0, 0]
    assert await effects(site) == 5


@pytest.mark.parametrize("database", ["postgres"])
async def test_who_keeps_the_row_locked_counts_as_running_it(site: Site) -> None:
    await opened(site)
    clock = FixedClock()
    store, other = await site.open(clock=clock), await site.open(clock=clock)
    stalled = store.once("op", ttl_s=60)
    await stalled.__aenter__()
    with site.user() as connection:
        connection.execute("SELECT 1 FROM belaypin_operation FOR UPDATE")
        for seconds in (61, 0):  # its time is over, and still nobody gets past the lock
            clock.advance(seconds)
            with pytest.raises(OperationRunning, match="attempt 1"):
                await run(other, wait_s=0.2)
            with pytest.raises(RequestMismatch):
                await run(other, request="another")
        connection.rollback()
    assert await run(other, result="theirs") == "theirs"


@pytest.mark.parametrize("database", ["postgres"])
async def test_who_is_just_about_to_claim_it_counts_as_running_it(site: Site) -> None:
    store = await opened(site)
    row = "'op', NULL, 'running', 'o', 1, 1, 1, 1, 1, 1"
    with site.user() as connection:
        connection.execute(
            "INSERT INTO belaypin_operation (operation_id, request, status, owner, token, "
            f"attempts, ttl_us, expires_us, created_us, updated_us) VALUES ({row})"
        )
        with pytest.raises(OperationRunning, match="at this moment"):
            await run(store)
        connection.rollback()
    assert await run(store) == 1


# --- results that expire --------------------------------------------------------------------------


async def test_a_result_goes_in_time_and_the_fact_stays(site: Site) -> None:
    clock = FixedClock()
    store = await opened(site, clock=clock)
    assert await run(store, result={"a": 1}, result_ttl="30d") == {"a": 1}
    clock.advance(30 * 86_400 - 1)
    assert await run(store, result=2) == {"a": 1}
    found = await store.operation("op")
    assert found.result_expires_at == START + timedelta(days=30)
    assert await store.drop_expired_results() == 0
    clock.advance(1)
    for dropped in (1, 0):
        async with store.once("op") as op:
            assert not op
            assert (op.result, op.result_expired) == (None, True)
        found = await store.operation("op")
        assert (found.status, found.result, found.result_expired) == ("done", None, True)
        assert not found.has_result
        assert await store.drop_expired_results() == dropped
    rows = await site.query("SELECT status, result FROM belaypin_operation")
    assert rows == [("done", None)]
    assert await effects(site) == 1
    assert (await store.verify()).ok


@pytest.mark.parametrize("database", ["memory"])
async def test_a_result_without_a_lifetime_is_kept(site: Site) -> None:
    clock = FixedClock()
    store = await opened(site, clock=clock)
    await run(store, result=None)
    await run(store, "other", result=None, result_ttl=0)
    clock.advance(10 * 365 * 86_400)
    kept, gone = await store.operation("op"), await store.operation("other")
    assert (kept.has_result, kept.result_expired, kept.result) == (True, False, None)
    assert (gone.has_result, gone.result_expired) == (False, True)
    async with store.once("op") as op:
        assert (bool(op), op.result_expired) == (False, False)


async def test_expired_results_are_dropped_in_small_steps(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in ("_sync", "_async"):
        monkeypatch.setattr(f"belaypin.{side}.operations._DROPPED_PER_STEP", 2)
    clock = FixedClock()
    store = await opened(site, clock=clock)
    for n in range(5):
        await run(store, f"short {n}", result_ttl=n)
    await run(store, "long", result_ttl="1d")
    clock.advance(10)
    assert await store.drop_expired_results() == 5
    assert await store.drop_expired_results() == 0
    assert await run(store, "long", result="again") == 1


@pytest.mark.parametrize("database", ["memory"])
async def test_a_bad_lifetime_is_refused(site: Site) -> None:
    store = await opened(site)
    for bad in ("soon", -1, object()):
        with pytest.raises(UsageError, match="result_ttl"):
            store.once("op", result_ttl=bad)
    assert await store.operation("op") is None


# --- functions whose calls are operations ---------------------------------------------------------


class Receipt(msgspec.Struct):
    number: int
    items: tuple[str, ...] = ()


def decorated(site: Site, store: Any, template: Any, **options: Any) -> tuple[Any, list[Any]]:
    """A function of this site's colour, and the arguments of the calls that it really ran for."""
    ran: list[Any] = []

    def charge(invoice: Any, *, note: str = "-", op: Any = None) -> Receipt:
        ran.append((invoice, note))
        op.tx.execute(EFFECT)
        return Receipt(len(ran), (str(invoice), note))

    async def async_charge(invoice: Any, *, note: str = "-", op: Any = None) -> Receipt:
        ran.append((invoice, note))
        await op.tx.execute(EFFECT)
        return Receipt(len(ran), (str(invoice), note))

    function = charge if site.colour == "sync" else async_charge
    return store.idempotent(template, **options)(function), ran


async def test_a_call_runs_once_and_returns_what_it_returned(site: Site) -> None:
    store = await opened(site)
    charge, ran = decorated(site, store, "charge:{invoice}")
    assert await charge(7) == Receipt(1, ("7", "-"))
    assert await charge(invoice=7) == Receipt(1, ("7", "-"))
    assert await charge(8, note="x") == Receipt(2, ("8", "x"))
    assert ran == [(7, "-"), (8, "x")]
    assert await effects(site) == 2
    found = await store.operation("charge:7")
    assert found.result == {"number": 1, "items": ["7", "-"]}


@pytest.mark.parametrize("database", ["memory"])
async def test_a_call_that_fails_runs_again(site: Site) -> None:
    store = await opened(site)
    calls = itertools.count(1)

    def work(n: int) -> int:
        if next(calls) == 1:
            raise OSError("the disk is away")
        return n

    async def async_work(n: int) -> int:
        return work(n)

    function = store.idempotent("work:{n}")(work if site.colour == "sync" else async_work)
    with pytest.raises(OSError, match="away"):
        await function(7)
    assert [await function(7) for _ in range(3)] == [7] * 3
    assert next(calls) == 3
    assert [a.outcome for a in (await store.operation("work:7")).attempts] == ["failed", "done"]


@pytest.mark.parametrize("database", ["memory"])
async def test_other_arguments_under_one_id_are_refused(site: Site) -> None:
    store = await opened(site)
    charge, ran = decorated(site, store, "charge:{invoice}")
    await charge(7)
    with pytest.raises(RequestMismatch):
        await charge(7, note="other")
    loose, _ = decorated(site, store, "loose:{invoice}", request=False)
    assert (await loose(7)).items == (await loose(7, note="other")).items
    some, _ = decorated(site, store, "some:{invoice}", request=lambda invoice, note="-": note)
    await some(7, note="x")
    with pytest.raises(RequestMismatch):
        await some(7)
    assert ran == [(7, "-")]


@pytest.mark.parametrize("database", ["memory"])
async def test_an_id_may_be_computed(site: Site) -> None:
    store = await opened(site)
    charge, ran = decorated(site, store, lambda invoice, note="-": f"by:{invoice['id']}")
    for _ in range(2):
        assert (await charge({"id": 3})).number == 1
    assert len(ran) == 1
    assert await store.operation("by:3")


@pytest.mark.parametrize("database", ["memory"])
async def test_the_lifetime_of_a_calls_result(site: Site) -> None:
    clock = FixedClock()
    store = await opened(site, clock=clock)
    charge, ran = decorated(site, store, "charge:{invoice}", result_ttl="1m", ttl_s=5, wait_s=0)
    await charge(7)
    clock.advance(60)
    assert await charge(7) is None
    assert len(ran) == 1


@pytest.mark.parametrize("database", ["memory"])
async def test_arguments_that_make_no_id_are_refused(site: Site) -> None:
    store = await opened(site)
    charge, ran = decorated(site, store, "charge:{invoice}")
    for bad in (1.5, None, True, b"x", ["a"], ("a", 1)):
        with pytest.raises(UsageError, match="invoice"):
            await charge(bad)
    with pytest.raises(TypeError):
        await charge(7, op="mine")
    assert ran == []
    assert await site.query("SELECT * FROM belaypin_operation") == []


@pytest.mark.parametrize("database", ["memory"])
async def test_templates_that_could_mix_calls_up_are_refused(site: Site) -> None:
    store = await opened(site)

    def function(a: str, b: str, *rest: str, op: Any = None, **named: str) -> None: ...

    for bad in ("{a}{b}", "{a}x{b}", "{c}", "{op}", "{rest}", "{named}", "{a.b}", "{a!r}"):
        with pytest.raises(UsageError):
            store.idempotent(bad)(function)
    wrong: list[Any] = ["{a[0]}", "{a:>3}", "{", "{}", "{0}", 7]
    for none in wrong:
        with pytest.raises(UsageError):
            store.idempotent(none)(function)


@pytest.mark.parametrize("database", ["memory"])
async def test_a_decorated_function_looks_as_it_did(site: Site) -> None:
    store = belaypin.open("sqlite:///:memory:")

    @store.idempotent("charge:{invoice}")
    def charge(invoice: int, op: belaypin.Once | None = None) -> int:
        """Charge it."""
        assert op is not None
        return invoice

    assert (charge.__name__, charge.__doc__) == ("charge", "Charge it.")
    assert list(inspect.signature(charge).parameters) == ["invoice"]
    assert charge(3) == 3

    async def coroutine(n: int) -> int:
        return n

    with pytest.raises(UsageError, match="aopen"):
        _ = store.idempotent("x:{n}")(coroutine)(1)
    store.close()


VALUES = st.one_of(
    st.text(alphabet="a1-:%{}/é\0_ ", max_size=4),
    st.integers(-99, 99),
    st.uuids(),
)


@given(
    st.tuples(VALUES, VALUES),
    st.tuples(VALUES, VALUES),
    st.sampled_from([":-/_%", "{a:1}", ":", "-", "% "]),
)
def test_no_two_arguments_make_one_id(one: Any, two: Any, between: str) -> None:
    between = between.replace("{", "{{").replace("}", "}}")
    template = IdTemplate(f"x:{{a}}{between}{{b}}1", {"a", "b"})
    filled = [template.fill({"a": a, "b": b}) for a, b in (one, two)]
    same = [str(v) if isinstance(v, UUID) else v for v in one] == [
        str(v) if isinstance(v, UUID) else v for v in two
    ]
    assert (filled[0] == filled[1]) == same
