"""The other side of the SIGKILL harness: a warm process that forks a child for every run.

``python -m belaypin.testing._victim REPORT_FD SCRIPT``: it imports what the script imports, then
reads orders, one JSON object a line, and for each forks a child that runs the script as ``__main__``
and kills itself at the place in question. A fork costs milliseconds where a start costs a tenth of
a second, so thousands of places can be tried.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import belaypin
from belaypin.testing.gates import Point, on_commits

__all__ = ["main"]

_WARM = ("belaypin._sync.store", "belaypin.backends.sqlite")
_WARM_POSTGRES = "belaypin.backends._sync.postgres"

Report = Callable[[dict[str, Any]], None]


def main(arguments: list[str]) -> None:
    """Warm up, then fork a child for each order until there are no more."""
    report_fd, script = int(arguments[0]), arguments[1]

    def report(said: dict[str, Any]) -> None:
        os.write(report_fd, json.dumps(said).encode() + b"\n")

    sys.path.insert(0, str(Path(script).parent))
    for name in (*_WARM, *([_WARM_POSTGRES] if find_spec("psycopg_pool") else [])):
        import_module(name)
    runpy.run_path(script, run_name="warm")
    report({"ready": True})
    for line in sys.stdin.buffer:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _run(script, order, report)
        _, status = os.waitpid(pid, 0)
        report({"code": os.waitstatus_to_exitcode(status)})


def _run(script: str, order: dict[str, Any], report: Report) -> NoReturn:
    code = 1
    try:
        _arm(order, report)
        sys.argv = [script, *order["args"]]
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 -- what a process prints as it dies of it
        traceback.print_exc()
    finally:
        sys.settrace(None)
        sys.stderr.flush()
        os._exit(code)


def _arm(order: dict[str, Any], report: Report) -> None:
    def die(place: str) -> None:
        report({"place": place})
        os.kill(os.getpid(), signal.SIGKILL)

    if order["kind"] == "statement":
        _kill_before_statement(order["number"], die)
    elif order["kind"] == "commit":
        _kill_around_commit(order["number"], die)
    elif order["kind"] == "line":
        _kill_at_line(_files(order["modules"]), _nth(order["number"]), die)
    elif order["kind"] == "new line":
        spared = set(order["spared"])
        _kill_at_line(_files(order["modules"]), lambda place: place not in spared, die)


def _kill_before_statement(number: int, die: Callable[[str], None]) -> None:
    is_due = _nth(number)

    def gate(point: Point) -> None:
        if is_due(point.name):
            die(f"before {point.name}")

    on_commits(lambda _: None, gate)


def _kill_around_commit(number: int, die: Callable[[str], None]) -> None:
    """Die before the first commit that writes, right behind it, before the second, and so on."""
    is_due = _nth(number)

    def gate(point: Point) -> None:
        if point.kind == "commit" and point.write and is_due(point.name):
            die("before a commit")

    def committed(_: Sequence[str]) -> None:
        if is_due("COMMIT"):
            die("behind a commit")

    on_commits(committed, gate)


def _kill_at_line(
    wanted: Callable[[str], str | None], is_due: Callable[[str], bool], die: Callable[[str], None]
) -> None:
    def enter(frame: FrameType, _event: str, _argument: object) -> Any:
        return line if wanted(frame.f_code.co_filename) else None

    def line(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            place = f"{wanted(frame.f_code.co_filename)}:{frame.f_lineno}"
            if is_due(place):
                die(place)
        return line

    threading.settrace(enter)
    sys.settrace(enter)


def _nth(number: int) -> Callable[[str], bool]:
    passed = iter(range(1, number + 1))
    return lambda _place: next(passed, 0) == number


def _files(modules: list[str]) -> Callable[[str], str | None]:
    """Tells the short name of a file of one of the modules or packages; None of any other."""
    home = Path(belaypin.__file__).parent
    spared = str(home / "testing")
    origins = [Path(spec.origin) for name in modules if (spec := find_spec(name)) and spec.origin]
    roots = tuple(str(p.parent if p.name == "__init__.py" else p) for p in origins)
    known: dict[str, str | None] = {}

    def short_name(file: str) -> str | None:
        if file not in known:
            is_wanted = file.startswith(roots) and not file.startswith(spared)
            known[file] = file.removeprefix(f"{home}/") if is_wanted else None
        return known[file]

    return short_name


if __name__ == "__main__":
    main(sys.argv[1:])
