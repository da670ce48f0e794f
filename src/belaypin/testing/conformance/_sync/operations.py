# Generated from src/belaypin/testing/conformance/_async/operations.py by tools/generate_sync.py; do not edit.
"""Operations: run once under a stable id; the result is kept, a failure is run again."""

from __future__ import annotations

from functools import partial
from typing import Any

from belaypin._sync.store import Store
from belaypin.errors import Fenced, OperationRunning, RequestMismatch, SqlError, UsageError
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._sync.loop import effects, opened, pause, together
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.expect import raises, refused, unchanged


def _once(store: Store, operation_id: str, result: Any = 1, **options: Any) -> Any:
    """Run an operation that writes one row; returns its result."""
    with store.once(operation_id, **options) as op:
        if op:
            op.tx.execute("INSERT INTO effect (id) VALUES ('ran')")
            op.result = result
    return op.result


def check_the_result_is_kept(place: Place) -> None:
    store, other = opened(place), place.open()
    results: list[Any] = [None, 0, "", {"a": [1, None]}, "\N{SNOWMAN}" * 1000, [True]]
    for number, result in enumerate(results):
        assert _once(store, f"op {number}", result) == result
        with unchanged(place):
            assert _once(other, f"op {number}", "another") == result
    assert effects(place) == ["ran"] * len(results)


def check_an_operation_needs_no_effect_here(place: Place) -> None:
    store = opened(place)
    with store.once("op") as op:
        assert op
        assert op.attempt == 1
    with store.once("op") as op:
        assert not op
        assert op.result is None
        with raises(UsageError, "if op"):
            _ = op.tx


def check_a_failure_is_recorded_and_run_again(place: Place) -> None:
    store = opened(place)
    for attempt in (1, 2):
        with raises(ZeroDivisionError, "no\0good"):
            with store.once("op") as op:
                assert op.attempt == attempt
                op.tx.execute("INSERT INTO effect (id) VALUES ('undone')")
                raise ZeroDivisionError("no\0good")
        ((status, error),) = place.query("SELECT status, error FROM belaypin_operation")
        assert (status, error.startswith("ZeroDivisionError: no")) == ("failed", True)
    assert _once(store, "op") == 1
    assert place.query("SELECT attempts, error FROM belaypin_operation") == [(3, None)]
    assert effects(place) == ["ran"]


def check_every_attempt_is_told(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    assert store.operation("op") is None
    with raises(ZeroDivisionError):
        with store.once("op"):
            raise ZeroDivisionError("no luck")
    stale = store.once("op", ttl_s=30)
    stale.__enter__()
    clock.advance("31s")
    assert _once(store, "op", {"a": 1}) == {"a": 1}
    found = store.operation("op")
    assert found is not None
    assert (found.status, found.result, found.error) == ("done", {"a": 1}, None)
    assert [attempt.outcome for attempt in found.attempts] == ["failed", "lost", "done"]
    failed, lost, _ = found.attempts
    assert failed.error == "ZeroDivisionError: no luck"
    assert "no luck" in str(failed.traceback)
    assert str(lost.duration) == "0:00:31"
    with raises(Fenced):
        stale.__exit__(None, None, None)


def check_a_result_expires_and_the_fact_stays(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    assert _once(store, "op", "secret", result_ttl="1h") == "secret"
    clock.advance("59m")
    assert _once(store, "op", "again") == "secret"
    clock.advance("1m")
    for dropped in (1, 0):
        with unchanged(place):
            with store.once("op") as op:
                assert (bool(op), op.result, op.result_expired) == (False, None, True)
        assert store.drop_expired_results() == dropped
    assert effects(place) == ["ran"]


def check_statements_that_fail_fail_the_operation(place: Place) -> None:
    store = opened(place)
    with raises(SqlError, "no_such_table"):
        with store.once("op") as op:
            op.tx.execute("INSERT INTO effect (id) VALUES ('undone')")
            op.tx.execute("INSERT INTO no_such_table VALUES (1)")
    assert place.query("SELECT status FROM belaypin_operation") == [("failed",)]
    for statement in ("COMMIT", "; COMMIT"):
        try:
            with store.once("op") as op:
                op.tx.execute("INSERT INTO effect (id) VALUES ('undone')")
                op.tx.execute(statement)
        except (UsageError, SqlError):
            continue
        raise AssertionError(f"{statement!r} was accepted")
    assert _once(store, "op") == 1
    assert effects(place) == ["ran"]


def check_a_result_that_can_not_be_kept_fails_the_operation(place: Place) -> None:
    store = opened(place)
    for result in (object(), float("nan"), {1: 2}, "\ud800"):
        with raises(UsageError):
            _once(store, "op", result)
        assert place.query("SELECT status FROM belaypin_operation") == [("failed",)]
    assert effects(place) == []
    assert _once(store, "op") == 1


def check_another_request_under_the_same_id_is_refused(place: Place) -> None:
    store = opened(place)
    assert _once(store, "op", request={"a": 1, "b": 2}) == 1
    assert _once(store, "op", request={"b": 2, "a": 1}) == 1
    requests: list[Any] = [{"a": 2}, None, [], "a"]
    for request in requests:
        with refused(place, RequestMismatch, "op"):
            _once(store, "op", request=request)
    with raises(ZeroDivisionError):
        with store.once("failing", request=1):
            raise ZeroDivisionError
    with refused(place, RequestMismatch):
        _once(store, "failing", request=2)
    assert effects(place) == ["ran"]


def check_an_operation_runs_in_one_place(place: Place) -> None:
    store, other = opened(place), place.open()
    with store.once("op") as op:
        assert op
        with refused(place, OperationRunning, "op"):
            _once(other, "op")
        with refused(place, OperationRunning):
            _once(other, "op", wait_s=0.1)
        assert _once(other, "another op") == 1


def check_many_callers_run_it_once(place: Place) -> None:
    opened(place)

    def call(number: int) -> Any:
        return _once(place.open(), "op", number, wait_s=10)

    results = together([partial(call, n) for n in range(6)])
    assert len({*map(repr, results)}) == 1, results
    assert results[0] in range(6)
    assert effects(place) == ["ran"]


def check_an_operation_is_taken_over(place: Place) -> None:
    clock = FakeClock()
    store, other = opened(place, clock=clock), place.open(clock=clock)
    stale = store.once("op", ttl_s=30)
    stale.__enter__()
    clock.advance("29s")
    with raises(OperationRunning):
        _once(other, "op")
    clock.advance("2s")
    with other.once("op", ttl_s=30) as op:
        assert op.attempt == 2
        with refused(place, Fenced, "op"):
            stale.tx.execute("INSERT INTO effect (id) VALUES ('stale')")
        op.result = "theirs"
    assert _once(store, "op") == "theirs"
    assert effects(place) == []


def check_a_stale_completion_changes_nothing(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    for error in (None, ZeroDivisionError("late")):
        stale = store.once(f"op {error}", ttl_s=30)
        stale.__enter__()
        clock.advance("31s")
        assert _once(store, f"op {error}", "theirs") == "theirs"
        with unchanged(place):
            if error is None:
                with raises(Fenced):
                    stale.__exit__(None, None, None)
            else:
                stale.__exit__(type(error), error, None)
        assert _once(store, f"op {error}") == "theirs"


def check_a_clock_set_back_blocks_no_operation(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    stale = store.once("op", ttl_s=30)
    stale.__enter__()
    clock.set(clock.now.replace(year=clock.now.year - 10))
    assert _once(store, "op", "theirs") == "theirs"
    with raises(Fenced):
        stale.__exit__(None, None, None)


def check_the_heartbeat_keeps_a_short_operation(place: Place) -> None:
    store = opened(place)
    with store.once("op", ttl_s=0.3) as op:
        pause(0.7)
        with raises(OperationRunning):
            _once(store, "op")
        op.result = "kept"
    assert _once(store, "op") == "kept"


def check_ids_that_are_none_are_refused(place: Place) -> None:
    store = opened(place)
    for bad in ("", "a\0b", "x" * 10_000, "\ud800", 7, b"x", None, ("a",)):
        with refused(place, UsageError):
            _once(store, bad)  # type: ignore[arg-type]
    for request in (float("nan"), 2**60, {1: 2}):
        with refused(place, UsageError):
            _once(store, "op", request=request)


def check_ids_may_hold_anything(place: Place) -> None:
    store = opened(place)
    ids = ["'; DROP TABLE effect; --", "%s ? :id", "\N{PILE OF POO}", "x" * 1024, " ", "A", "a"]
    for number, operation_id in enumerate(ids):
        assert _once(store, operation_id, number) == number
    assert [_once(store, operation_id) for operation_id in ids] == [*range(len(ids))]
    assert len(effects(place)) == len(ids)
