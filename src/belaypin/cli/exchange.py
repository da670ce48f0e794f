"""``belaypin export`` and ``import``: a pipeline as lines of JSON, out of one store and into another."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

import belaypin
from belaypin.cli.call import Call, on_store
from belaypin.cli.text import shown

__all__ = ["export_command", "import_command"]


@click.command("export")
@click.argument("pipeline")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Into this file.")
@on_store("read")
def export_command(
    call: Call, store: belaypin.Store, *, pipeline: str, output: Path | None
) -> None:
    """Write a PIPELINE as lines of JSON: states, ledgers, coverage and failures.

    Workers may go on meanwhile; each entity is read at one moment. Without -o the lines go to the
    standard output, whatever --json says; with it, the file appears once it is whole.
    """
    if output is None:
        for line in store.export(pipeline):
            sys.stdout.buffer.write(line)
        return
    lines = size = 0
    with _whole(output) as file:
        for line in store.export(pipeline):
            size += file.write(line)
            lines += 1
    data = {"pipeline": pipeline, "file": str(output), "lines": lines, "bytes": size}
    call.show.record(data, f"{shown(pipeline)}: {lines} lines, {size} bytes in {output}")


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--pipeline", help="Under this name. Default: its own.")
@click.option("--merge", is_flag=True, help="Add what is not there to a pipeline that is.")
@on_store("write")
def import_command(
    call: Call,
    store: belaypin.Store,
    *,
    file: IO[bytes],
    pipeline: str | None,
    merge: bool,
) -> None:
    """Read what export wrote from FILE (-: the standard input) into this store.

    If it is interrupted, do it again: it goes on. A pipeline that is there already is refused; with
    --merge the entities that are not there are added, and the others left as they are.
    """
    done = store.import_(file, pipeline=pipeline, merge=merge)
    call.show.record(done, str(done))


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears when it is whole, or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
    except OSError as error:
        raise belaypin.UsageError(f"{part} can't be written: {error.strerror}.") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)
