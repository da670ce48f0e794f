"""Commands as processes of their own, without the time that each needs to import what it needs.

`python -m tests.cli.forks` imports belaypin once; for each line on its standard input it forks a
child, which runs the command as a shell would have: its own arguments, environment, folder,
streams and exit code. (test_frame.py and test_start.py run whole processes.)
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Forks"]

_PRELOADED = (
    "belaypin._sync",
    "belaypin.backends",
    "belaypin.cli",
    "belaypin.programs",
    "belaypin.records",
)


class Forks:
    """A process that forks commands off."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=30)

    def call(
        self, *words: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; ``env`` is added to the environment."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            asked = {"words": words, "env": dict(env or {}), "cwd": str(Path.cwd())}
            self._process.stdin.write(json.dumps({**asked, "streams": [str(out), str(err)]}) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            written = [each.read_text(encoding="utf-8") for each in (out, err)]
        return subprocess.CompletedProcess(list(words), code, *written)


def serve() -> None:
    """Fork a child for each line, and answer with its exit code."""
    for package in map(importlib.import_module, _PRELOADED):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    from belaypin.cli import main

    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run(main, json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


def run(main: Callable[..., Any], asked: dict[str, Any]) -> NoReturn:
    """Be the command."""
    os.chdir(asked["cwd"])
    os.environ.update(asked["env"])
    opened = [os.open(os.devnull, os.O_RDONLY)]
    opened += [os.open(path, os.O_WRONLY | os.O_CREAT, 0o600) for path in asked["streams"]]
    for number, file in enumerate(opened):
        os.dup2(file, number)
    sys.stdin = _opened(0, "r")
    sys.stdout, sys.stderr = _opened(1, "w"), _opened(2, "w")
    code: Any = 0
    try:
        main(args=asked["words"], prog_name="belaypin")
    except SystemExit as end:
        code = end.code
    # As an interpreter ends, but for taking apart what was imported: a quarter of a second, here
    # where each page of it has to be copied first.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _opened(number: int, mode: str) -> Any:
    return open(number, mode, encoding="utf-8", closefd=False)


if __name__ == "__main__":
    serve()
