"""The generator of the sync side: each rule, the comments that overrule it, and what it refuses."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools.generate_sync import NotSync, generate, main, sync_name, to_sync


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("async def f(): ...", "def f(): ..."),
        ("async  def f(): ...", "def f(): ..."),
        ("async with a as b: ...", "with a as b: ..."),
        ("async for a in b: ...", "for a in b: ..."),
        ("x = [a async for a in b if await c(a)]", "x = [a for a in b if c(a)]"),
        ("x = {a: b async for a, b in c()}", "x = {a: b for a, b in c()}"),
        ("await f()", "f()"),
        ("return await f()", "return f()"),
        ("x = await f(await g())", "x = f(g())"),
        ("async with await f() as x: ...", "with f() as x: ..."),
        ("x = await (f or g)()", "x = (f or g)()"),
        ("await\\\n  f()", "f()"),
    ],
)
def test_async_and_await_go(source: str, expected: str) -> None:
    assert to_sync(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = (await f()).rows", "x = f().rows"),
        ("x = (await f.g(1, [2])[3]).rows", "x = f.g(1, [2])[3].rows"),
        ("x = y in(await f())", "x = y in f()"),
        ("return (await f())", "return f()"),
        ("g((await f()), 1)", "g(f(), 1)"),
        # These parentheses do more than hold the await.
        ("g(await f())", "g(f())"),
        ("x = (await f() or g).rows", "x = (f() or g).rows"),
        ("x = (await f(),)", "x = (f(),)"),
        ("x = (await f() + 1) * 2", "x = (f() + 1) * 2"),
        ("x = (await f() for f in g)", "x = (f() for f in g)"),
        ("x = (\n    await f()  # why\n)", "x = (\n    f()  # why\n)"),
        ("x = a[0](await f())", "x = a[0](f())"),
    ],
)
def test_parentheses_that_only_the_await_needed_go(source: str, expected: str) -> None:
    assert to_sync(source) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AsyncStore", "Store"),
        ("_AsyncPool", "_Pool"),
        ("AsyncIterator", "Iterator"),
        ("AsyncExitStack", "ExitStack"),
        ("AbstractAsyncContextManager", "AbstractContextManager"),
        ("asynccontextmanager", "contextmanager"),
        ("async_sessionmaker", "sessionmaker"),
        ("StopAsyncIteration", "StopIteration"),
        ("__aenter__", "__enter__"),
        ("__anext__", "__next__"),
        ("aopen", "open"),
        ("aclose", "close"),
        ("_async", "_sync"),
        ("open_async", "open_sync"),
        # Not ours to change.
        ("Async", "Async"),
        ("asynchronous", "asynchronous"),
        ("Asynchronous", "Asynchronous"),
        ("close", "close"),
        ("aopened", "aopened"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert sync_name(name) == expected
    assert to_sync(f"x.{name}(y)") == f"x.{expected}(y)"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x: Awaitable[int]", "x: int"),
        ("x: Callable[[A], Awaitable[Page[T]]]", "x: Callable[[A], Page[T]]"),
        ("x: Coroutine[Any, Any, dict[str, int]]", "x: dict[str, int]"),
        ("x: Awaitable[AsyncStore] | None", "x: Store | None"),
        ("x: AsyncGenerator[int, None]", "x: Generator[int, None]"),
    ],
)
def test_types_that_are_awaited(source: str, expected: str) -> None:
    assert to_sync(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""The AsyncStore of `aopen`."""', '"""The Store of `open`."""'),
        ('"""Use ``await store.aclose()``."""', '"""Use ``store.close()``."""'),
        ('"""\n>>> await store.load(1)\n"""', '"""\n>>> store.load(1)\n"""'),
        ('"""Give it to ``async with``."""', '"""Give it to ``with``."""'),
        ('"""Those who await it, in async code."""', '"""Those who await it, in async code."""'),
        ("x = 1  # as AsyncLease.__aexit__ does", "x = 1  # as Lease.__exit__ does"),
        ('__all__ = ["AsyncLease"]', '__all__ = ["Lease"]'),
        ('x = "no AsyncStore {}"', 'x = "no Store {}"'),
        ('x = f"{{AsyncStore}} {s.aclose!r} aopen"', 'x = f"{{Store}} {s.close!r} open"'),
        ('import_module("belaypin._async.store")', 'import_module("belaypin._sync.store")'),
    ],
)
def test_code_words_in_text(source: str, expected: str) -> None:
    assert to_sync(source) == expected


def test_layout_and_comments_stay() -> None:
    source = "x = {  # why\n    1:   await f( a,b ),\n\n}\n\x0c\ny   = 'é𝄞'; await  g()  # end\n"
    expected = "x = {  # why\n    1:   f( a,b ),\n\n}\n\x0c\ny   = 'é𝄞'; g()  # end\n"
    assert to_sync(source) == expected


def test_comments_overrule() -> None:
    source = (
        "import asyncio  # sync: import threading\n"
        "def f():\n"
        "    await asyncio.sleep(0)  # sync: drop\n"
        "    # sync: off\n"
        "    async with asyncio.timeout(1):  # sync: not looked at in here\n"
        "        pass\n"
        "    # sync: on\n"
        "    asyncio.Lock()  # sync: threading.Lock()\n"
        "    x = '# sync: drop'\n"
    )
    expected = "import threading\ndef f():\n    threading.Lock()\n    x = '# sync: drop'\n"
    assert to_sync(source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n# sync: off\n", "line 2: '# sync: off' is never followed"),
        ("# sync: on\n", "line 1"),
        ("# sync: drop\n", "line 1"),
        ("x = 1  # sync:\n", "line 1"),
        ("async def f():\n    return f'{await g()}'\n", "line 2: await inside an f-string"),
        ("x: Awaitable[\n    int\n]\n", r"line 1: Awaitable\[...\] must stand on one line"),
    ],
)
def test_refuses(source: str, message: str) -> None:
    with pytest.raises(NotSync, match=message):
        to_sync(source)


def _generate(tmp_path: Path, source: str) -> str:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.py").write_text(source, encoding="utf-8")
    return generate(tmp_path / "a" / "x.py", tmp_path / "s" / "x.py", tmp_path)


def test_a_generated_file_is_tidy(tmp_path: Path) -> None:
    source = (
        "from collections.abc import Awaitable, Callable\n"
        "from contextlib import asynccontextmanager, contextmanager\n\n"
        '__all__ = ["AsyncZebra", "Mule"]\n\n\n'
        "class AsyncZebra:\n"
        "    run: Callable[[], int | Awaitable[int]]\n"
        "    many = {asynccontextmanager, contextmanager}\n\n\n"
        "class Mule: ...\n"
    )
    assert _generate(tmp_path, source) == (
        "# Generated from a/x.py by tools/generate_sync.py; do not edit.\n"
        "from collections.abc import Callable\n"
        "from contextlib import contextmanager\n\n"
        '__all__ = ["Mule", "Zebra"]\n\n\n'
        "class Zebra:\n"
        "    run: Callable[[], int]\n"
        "    many = {contextmanager, contextmanager}\n\n\n"
        "class Mule: ...\n"
    )


@pytest.mark.parametrize(
    "source",
    ["import asyncio\n\nasyncio.run(f())\n", "isinstance(x, Awaitable)\n", "def f(:\n"],
)
def test_async_words_that_are_left_are_an_error(tmp_path: Path, source: str) -> None:
    with pytest.raises(NotSync, match=r"^a/x\.py: "):
        _generate(tmp_path, source)


def test_writes_checks_and_removes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees = [("a", "s")]
    source = tmp_path / "a" / "deep" / "async_store.py"
    target = tmp_path / "s" / "deep" / "store.py"
    source.parent.mkdir(parents=True)
    source.write_text("async def f() -> None: ...\n", encoding="utf-8")

    def run(*argv: str) -> int:
        return main(list(argv), root=tmp_path, trees=trees)

    assert run("--check") == 1
    assert "+def f() -> None: ..." in capsys.readouterr().out
    assert not target.exists()
    assert run() == 0
    assert "def f" in target.read_text(encoding="utf-8")
    assert run("--check") == 0

    target.write_text("# edited by hand\n", encoding="utf-8")
    assert run("--check") == 1
    assert run() == 0
    source.unlink()
    assert run("--check") == 1
    assert run() == 0
    assert not target.exists()
    assert run("--check") == 0


def test_what_is_generated_is_python(tmp_path: Path) -> None:
    source = "async def work(f):\n    (await f()).x\n    return [x async for x in (await f())]\n"
    tree = ast.parse(_generate(tmp_path, source))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Await | ast.AsyncFunctionDef)]
