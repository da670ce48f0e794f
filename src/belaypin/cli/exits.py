"""What an error is to the shell: one text (or JSON object) on the standard error, one exit code."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import click

import belaypin
from belaypin.cli.redact import Secrets
from belaypin.cli.text import shown_lines

__all__ = ["BROKEN_PIPE", "CANNOT", "INTERRUPTED", "NOT_SO", "NO_STORE", "STOPPED", "Unread", "run"]

NOT_SO = 1
CANNOT = 2
STOPPED = 3
NO_STORE = 4
INTERRUPTED = 130
BROKEN_PIPE = 141

_CODES: tuple[tuple[type[belaypin.BelaypinError], int], ...] = (
    (belaypin.UsageError, CANNOT),
    (belaypin.MissingDriver, CANNOT),
    (belaypin.SchemaTooNew, CANNOT),
    (belaypin.SqlError, CANNOT),
    (belaypin.StoreUnavailable, NO_STORE),
    (belaypin.StoreBusy, NO_STORE),
    (belaypin.StoreFull, NO_STORE),
)
"""The first one that fits; any other error of belaypin says that something is not so."""


class Unread(Exception):
    """Nobody reads what is written."""


def run(call: Callable[[Secrets], Any], words: Sequence[str]) -> int:
    """Call a command; tell what went wrong; return the exit code of the process."""
    _never_fail_to_print()
    secrets = Secrets()
    tell = _Teller(secrets, as_json=any(word in ("--json", "--jsonl") for word in words))
    try:
        code = call(secrets)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return tell("Interrupted", "Stopped. What was committed is safe.", INTERRUPTED)
    except click.ClickException as error:
        return tell.usage(error)
    except belaypin.BelaypinError as error:
        return tell(type(error).__name__, str(error), _code_of(error))
    except (BrokenPipeError, Unread):
        _stop_writing()
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001  # told in full: a defect must show, without a password
        return tell.defect(error)
    return code if isinstance(code, int) else 0


def _code_of(error: belaypin.BelaypinError) -> int:
    return next((code for kind, code in _CODES if isinstance(error, kind)), NOT_SO)


class _Teller:
    """Tells an error to a person or, with ``--json``, to a program."""

    def __init__(self, secrets: Secrets, *, as_json: bool) -> None:
        self._secrets = secrets
        self._as_json = as_json

    def __call__(self, kind: str, message: str, code: int) -> int:
        message = self._secrets.hidden(message)
        if self._as_json:
            self._write(json.dumps({"error": {"kind": kind, "message": message, "exit": code}}))
        else:
            self._write(shown_lines(f"Error: {message}"))
        return code

    def usage(self, error: click.ClickException) -> int:
        """A command line that click could not read."""
        context = getattr(error, "ctx", None)
        if context is not None and not self._as_json:
            self._write(f"{context.get_usage()}\nMore: {context.command_path} --help\n")
        return self("UsageError", error.format_message(), CANNOT)

    def defect(self, error: Exception) -> int:
        """What nobody expected: the whole story, as it is to be reported."""
        lines = self._secrets.hidden("".join(traceback.format_exception(error)))
        if not self._as_json:
            self._write(shown_lines(lines))
        said = f"{type(error).__name__}: {error}"
        return self(
            "Unexpected", f"{said}. This is a defect of belaypin, or of your own code.", NOT_SO
        )

    def _write(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            click.echo(text, err=True)


def _never_fail_to_print() -> None:
    """A locale that lacks a character is no reason to stop: it gets an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _stop_writing() -> None:
    """What is still in the buffer goes nowhere, so that the interpreter's own flush is quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
