"""Graphs of the real LangGraph on a store: they go on where they stood, and nothing is mixed up."""

from __future__ import annotations

import operator
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

import belaypin
from belaypin.integrations.langgraph import AsyncBelaypinSaver, BelaypinSaver

KILLED = """
import operator, os, signal, sys
from typing import Annotated, TypedDict
from langgraph.graph import END, START, StateGraph
import belaypin
from belaypin.integrations.langgraph import BelaypinSaver

class State(TypedDict):
    done: Annotated[list, operator.add]

def node(name):
    def run(state):
        print("ran", name, flush=True)
        if name == "c" and sys.argv[2] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"done": [name]}
    return run

graph = StateGraph(State)
for name in "abcd":
    graph.add_node(name, node(name))
for a, b in zip([START, *"abcd"], [*"abcd", END]):
    graph.add_edge(a, b)

with belaypin.open(sys.argv[1]) as store:
    app = graph.compile(checkpointer=BelaypinSaver(store))
    config = {"configurable": {"thread_id": "1"}}
    begun = app.get_state(config).created_at is not None
    print(app.invoke(None if begun else {"done": []}, config, durability="sync")["done"])
"""


class Counting(TypedDict):
    total: Annotated[int, operator.add]
    text: str


def extend(state: list[str], writes: list[list[str]]) -> list[str]:
    return [*state, *(text for write in writes for text in write)]


class Talk(TypedDict):
    said: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=8)]


@dataclass
class Order:
    number: int


@pytest.fixture
def store(url: str) -> Iterator[belaypin.Store]:
    with belaypin.open(url) as store:
        yield store


@pytest.fixture
def saver(store: belaypin.Store) -> BelaypinSaver:
    return BelaypinSaver(store)


def of(thread_id: str, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **more}}


def put(saver: Any, thread_id: str, values: dict[str, Any], parent: Any = None, **how: Any) -> Any:
    """Store a checkpoint with these values, all of them new at version 1 unless ``how`` says."""
    versions = how.pop("versions", dict.fromkeys(values, 1))
    checkpoint = {
        **empty_checkpoint(),
        "id": how.pop("id", None) or str(uuid6(clock_seq=0)),
        "channel_values": values,
        "channel_versions": versions,
    }
    config = parent or of(thread_id)
    metadata = {"source": "loop", "step": 0, "parents": {}, **how.pop("metadata", {})}
    return saver.put(config, checkpoint, metadata, how.pop("new", versions))


def values_of(saver: Any, config: Any) -> dict[str, Any]:
    found = saver.get_tuple(config)
    assert found is not None
    values: dict[str, Any] = found.checkpoint["channel_values"]
    return values


def count(store: belaypin.Store, table: str) -> int:
    return int(store.execute(f"SELECT COUNT(*) FROM belaypin_langgraph_{table}").rows[0][0])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)


def waiting(watch: psycopg.Connection[Any]) -> int:
    """How many sessions wait for a lock."""
    sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    sql += " AND datname = current_database()"
    row = watch.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


def test_a_killed_graph_goes_on_at_the_node_where_it_stood(url: str) -> None:
    def run(how: str) -> tuple[int, list[str]]:
        command = [sys.executable, "-c", KILLED, url, how]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode, done.stdout.splitlines()

    assert run("die") == (-signal.SIGKILL, ["ran a", "ran b", "ran c"])
    assert run("live") == (0, ["ran c", "ran d", "['a', 'b', 'c', 'd']"])


def test_a_person_answers_another_process(url: str) -> None:
    def ask(state: Counting) -> dict[str, Any]:
        return {"text": interrupt("what now?"), "total": 1}

    graph = StateGraph(Counting)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    config = of("1")
    with belaypin.open(url) as store:
        app = graph.compile(checkpointer=BelaypinSaver(store))
        waiting = app.invoke({"total": 1, "text": ""}, config)
        assert waiting["__interrupt__"][0].value == "what now?"
    with belaypin.open(url) as store:
        app = graph.compile(checkpointer=BelaypinSaver(store))
        assert app.invoke(Command(resume="go on"), config) == {"total": 2, "text": "go on"}
        history = list(app.get_state_history(config))
        fork = app.update_state(history[-1].config, {"total": 10})
        assert app.get_state(fork).values["total"] == 10
        assert app.get_state(history[0].config).values["total"] == 2


async def test_a_graph_runs_in_asyncio_on_either_saver(url: str) -> None:
    async def add(state: Counting) -> dict[str, Any]:
        return {"total": 1}

    graph = StateGraph(Counting)
    graph.add_node("add", add)
    graph.add_edge(START, "add")
    graph.add_edge("add", END)
    async with await belaypin.aopen(url) as store:
        app = graph.compile(checkpointer=AsyncBelaypinSaver(store))
        for _ in range(2):
            await app.ainvoke({"total": 1}, of("1"))
        assert (await app.aget_state(of("1"))).values == {"total": 4}
        with pytest.raises(belaypin.UsageError, match="ainvoke"):
            app.get_state(of("1"))
    with belaypin.open(url) as sync_store:
        app = graph.compile(checkpointer=BelaypinSaver(sync_store))
        await app.ainvoke({"total": 1}, of("1"))
        assert (await app.aget_state(of("1"))).values == {"total": 6}
        assert len([found async for found in app.aget_state_history(of("1"), limit=3)]) == 3


def test_many_writers_at_once(store: belaypin.Store, saver: BelaypinSaver) -> None:
    root = put(saver, "shared", {"x": 0})

    def work(n: int) -> None:
        mine = put(saver, "shared", {"x": n, "same": "value"}, root, versions={"x": n, "same": 1})
        saver.put_writes(mine, [("x", n), ("y", n)], f"task-{n}")
        saver.put_writes(root, [("x", n)], f"task-{n}")
        if n % 4 == 0:
            put(saver, f"other-{n}", {"x": n})
            saver.prune([f"other-{n}"], strategy="keep_latest")
            saver.prune(["not there"], strategy="delete")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(1, 41)))
    assert len(saver.get_tuple(root).pending_writes) == 40
    found = list(saver.list(of("shared")))
    assert len(found) == 41
    for each in found[:-1] if found[-1].parent_config is None else found:
        n = each.checkpoint["channel_values"]["x"]
        assert n == 0 or each.pending_writes == [(f"task-{n}", "x", n), (f"task-{n}", "y", n)]


def test_a_value_is_not_deleted_while_a_checkpoint_that_names_it_is_on_its_way(
    postgres_url: str,
) -> None:
    with belaypin.open(postgres_url) as store, ThreadPoolExecutor(2) as pool:
        saver = BelaypinSaver(store)
        put(saver, "t", {"x": "value"}, metadata={"run_id": "gone"})
        checkpoint_id = str(uuid6(clock_seq=0))
        with psycopg.connect(postgres_url) as outside, psycopg.connect(postgres_url) as watch:
            watch.autocommit = True
            outside.execute(
                "INSERT INTO belaypin_langgraph_checkpoint SELECT thread_id, ns, %s, parent_id, "
                "run_id, channels, metadata, payload FROM belaypin_langgraph_checkpoint",
                [checkpoint_id],
            )
            putting = pool.submit(put, saver, "t", {"x": "value"}, id=checkpoint_id)
            wait_for(lambda: waiting(watch) == 1)  # for us: it has seen that the value is there
            deleting = pool.submit(saver.delete_for_runs, ["gone"])
            wait_for(lambda: deleting.done() or waiting(watch) == 2)
            outside.rollback()
        deleting.result()
        assert values_of(saver, putting.result()) == {"x": "value"}
        assert (count(store, "checkpoint"), count(store, "value")) == (1, 1)


def test_forks_with_equal_versions_keep_their_own_values(saver: BelaypinSaver) -> None:
    root = put(saver, "t", {"x": "root"})
    left = put(saver, "t", {"x": "left"}, root, versions={"x": 2})
    right = put(saver, "t", {"x": "right"}, root, versions={"x": 2})
    assert [values_of(saver, c)["x"] for c in (root, left, right)] == ["root", "left", "right"]


def test_what_did_not_change_is_stored_once(store: belaypin.Store, saver: BelaypinSaver) -> None:
    config = put(saver, "t", {"document": "text " * 1000, "n": 0})
    for n in range(1, 6):
        versions = {"document": 1, "n": 1 + n}
        values = {"document": "never looked at", "n": n}
        config = put(saver, "t", values, config, versions=versions, new={"n": 1 + n})
    assert values_of(saver, config) == {"document": "text " * 1000, "n": 5}
    assert count(store, "value") == 7


def test_a_channel_that_the_parent_can_not_give_is_stored(saver: BelaypinSaver) -> None:
    """New versions may leave it out, and yet there is no parent, or one at another version."""
    config = put(saver, "t", {"a": 1}, new={})
    assert values_of(saver, config) == {"a": 1}
    config = put(saver, "t", {"a": 2}, config, versions={"a": 2}, new={})
    assert values_of(saver, config) == {"a": 2}


def test_writes_come_back_in_the_order_in_which_they_are_applied(saver: BelaypinSaver) -> None:
    config = put(saver, "t", {})
    saver.put_writes(config, [("x", "b0"), ("x", "b1")], "a-task", "~2")
    saver.put_writes(config, [("x", "a0")], "z-task", "~1")
    saver.put_writes(config, [("x", "no path")], "task")
    assert [w[2] for w in saver.get_tuple(config).pending_writes] == ["no path", "a0", "b0", "b1"]
    saver.put_writes(config, [("x", "again")], "z-task", "~1")  # a task that ran twice
    saver.put_writes(config, [("__interrupt__", 1)], "z-task", "~1")
    saver.put_writes(config, [("__interrupt__", 2)], "z-task", "~1")
    newest = {w[1]: w[2] for w in saver.get_tuple(config).pending_writes if w[0] == "z-task"}
    assert newest == {"x": "a0", "__interrupt__": 2}


def test_a_long_thread_is_listed_in_pages(saver: BelaypinSaver) -> None:
    configs = [
        put(saver, "long", {"n": n}, metadata={"step": n, "odd": bool(n % 2)}) for n in range(120)
    ]
    put(saver, "other", {})
    child = put(saver, "long", {}, {"configurable": {"thread_id": "long", "checkpoint_ns": "sub"}})

    def steps(config: Any, **how: Any) -> list[Any]:
        return [found.metadata["step"] for found in saver.list(config, **how)]

    newest_first = list(range(119, -1, -1))
    assert steps(of("long")) == newest_first
    assert steps(of("long"), filter={"odd": True}) == newest_first[::2]
    assert steps(of("long"), filter={"odd": True}, limit=55) == newest_first[::2][:55]
    assert steps(of("long"), limit=51) == newest_first[:51]
    assert steps(of("long"), limit=0) == []
    assert steps(of("long"), before=configs[60]) == newest_first[60:]
    assert len(list(saver.list({"configurable": {"thread_id": "long"}}))) == 121
    everything = list(saver.list(None))
    assert len(everything) == 122
    assert everything[0].config == child
    ids = [found.checkpoint["id"] for found in everything]
    assert ids == sorted(ids, reverse=True)
    assert len(list(saver.list(None, filter={"odd": True}))) == 60


def test_pruning_leaves_nothing_behind(store: belaypin.Store, saver: BelaypinSaver) -> None:
    for thread_id in ("a", "b"):
        config = None
        for n in range(5):
            config = put(saver, thread_id, {"n": n}, config)
            saver.put_writes(config, [("n", n)], "task")
    saver.prune(["a"], strategy="keep_latest")
    assert [count(store, t) for t in ("checkpoint", "value", "write")] == [6, 6, 6]
    assert values_of(saver, of("a")) == {"n": 4}
    saver.copy_thread("a", "c")
    saver.delete_thread("a")
    assert values_of(saver, of("c")) == {"n": 4}
    saver.prune(["b", "c"], strategy="delete")
    assert [count(store, t) for t in ("checkpoint", "value", "write")] == [0, 0, 0]
    with pytest.raises(belaypin.UsageError, match="keep_latest"):
        saver.prune(["b"], strategy="keep_some")


def test_pruning_keeps_what_a_delta_channel_is_made_from(saver: BelaypinSaver) -> None:
    def speak(state: Talk) -> dict[str, Any]:
        return {"said": [f"answer {len(state['said'])}"]}

    graph = StateGraph(Talk)
    graph.add_node("speak", speak)
    graph.add_edge(START, "speak")
    app = graph.compile(checkpointer=saver)
    for n in range(7):
        app.invoke({"said": [f"question {n}"]}, of("t"))
    before = app.get_state(of("t")).values
    stored = len(list(saver.list(of("t"))))
    assert len(before["said"]) == 14
    saver.prune(["t"], strategy="keep_latest")
    assert app.get_state(of("t")).values == before
    assert 1 <= len(list(saver.list(of("t")))) < stored
    assert app.invoke({"said": ["more"]}, of("t"))["said"] == [*before["said"], "more", "answer 15"]


def test_damage_is_named(store: belaypin.Store, saver: BelaypinSaver) -> None:
    config = put(saver, "t", {"x": "text"})
    for table, what in (("value", "channel 'x'"), ("checkpoint", "checkpoint")):
        damaged = "payload || payload" if store.dialect == "postgres" else "zeroblob(40)"
        store.execute(f"UPDATE belaypin_langgraph_{table} SET payload = {damaged}")
        with pytest.raises(belaypin.CorruptRecord, match=f"{what}.*'t'"):
            saver.get_tuple(config)
    store.execute("DELETE FROM belaypin_langgraph_value")
    with pytest.raises(belaypin.CorruptRecord, match="no value"):
        saver.get_tuple(config)


def test_only_named_types_are_built(store: belaypin.Store, saver: BelaypinSaver) -> None:
    config = put(saver, "t", {"order": Order(7), "known": [{1, 2}, ("a",)]})
    with pytest.raises(belaypin.UsageError, match=r"test_langgraph\.Order.*types=\[Order\]"):
        saver.get_tuple(config)
    knowing = BelaypinSaver(store, types=[Order])
    assert values_of(knowing, config)["order"] == Order(7)
    assert values_of(saver.with_allowlist({(Order.__module__, "Order")}), config)
    with pytest.raises(belaypin.UsageError, match="not both"):
        BelaypinSaver(store, types=[Order], serde=JsonPlusSerializer())


def test_nothing_that_lies_in_the_database_is_run(
    store: belaypin.Store, saver: BelaypinSaver, capfd: pytest.CaptureFixture[str]
) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, ("echo I was run",)

    class Writer(JsonPlusSerializer):
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            return ("pickle", pickle.dumps(Evil())) if obj == "evil" else super().dumps_typed(obj)

    config = put(BelaypinSaver(store, serde=Writer()), "t", {"x": "evil"})
    with pytest.raises(NotImplementedError, match="pickle"):
        saver.get_tuple(config)
    assert capfd.readouterr().out == ""


def test_calls_that_can_not_work_say_why(store: belaypin.Store, saver: BelaypinSaver) -> None:
    with pytest.raises(belaypin.UsageError, match="thread_id"):
        saver.get_tuple({"configurable": {}})
    with pytest.raises(belaypin.UsageError, match="checkpoint_id"):
        saver.put_writes(of("t"), [("x", 1)], "task")
    with pytest.raises(belaypin.UsageError, match="channel 'x' can't be serialised"):
        put(saver, "t", {"x": object()})
    with pytest.raises(belaypin.UsageError, match="aopen"):
        AsyncBelaypinSaver(store)  # type: ignore[arg-type]
    with pytest.raises(belaypin.UsageError, match="open"):
        BelaypinSaver(None)  # type: ignore[arg-type]
    assert saver.get_tuple(of("t")) is None
