"""The disk, as a sink needs it: files that are hashed as they are written, durable directories."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from belaypin.errors import BelaypinError, StoreFull, StoreUnavailable

__all__ = ["Output", "digest", "make_directory", "on_disk", "remove", "rename", "sync_directory"]

_BUFFER_BYTES = 256 * 1024
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


class Output:
    """A new file, written once from its beginning to its end; Parquet's writer takes it as well."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=_BUFFER_BYTES)
        self._hash = sha256()
        self._is_given_up = False
        self.bytes = 0

    @property
    def closed(self) -> bool:
        """Whether a writer may not write any more; once given up it may, to no effect."""
        return self._file.closed and not self._is_given_up

    @property
    def sha256(self) -> str:
        """Of all that was written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Add to the file's end."""
        if not self._is_given_up:
            self._file.write(data)
        self._hash.update(data)
        size = memoryview(data).nbytes
        self.bytes += size
        return size

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.bytes

    def flush(self) -> None:
        """Do nothing: `sync` writes all there is."""

    def sync(self) -> None:
        """Make all that was written durable, and close the file."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def give_up(self) -> None:
        """Close the file, whatever becomes of it; what a writer still has to say is not heard."""
        self._is_given_up = True
        try:
            self._file.close()
        except OSError:
            pass  # a full disk can't take the rest, which does not count any more; it is closed


@contextmanager
def on_disk(directory: Path, doing: str, otherwise: str) -> Iterator[None]:
    """Turn what the disk says into our errors; ``otherwise`` says what became of the rows."""
    try:
        yield
    except OSError as error:
        raise _translated(error, directory, doing, otherwise) from error


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    if os.name != "posix":
        return  # elsewhere a directory can't be opened, and its names are durable without it
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Make a directory, and those above it that are missing; durably, as files will stand in it."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_directory(each.parent)


def rename(directory: Path, part: str, name: str) -> bool:
    """Give a file its name, unless somebody has; whether it has it now."""
    try:
        (directory / part).rename(directory / name)
    except FileNotFoundError:
        return (directory / name).exists()
    return True


def remove(directory: Path, part: str) -> bool:
    """Delete a part; whether it was there."""
    try:
        (directory / part).unlink()
    except FileNotFoundError:
        return False
    return True


def digest(path: Path) -> tuple[int, str]:
    """The size and SHA-256 of a file."""
    total, found = 0, sha256()
    with path.open("rb", buffering=0) as file:
        while data := file.read(_BUFFER_BYTES):
            total += len(data)
            found.update(data)
    return total, found.hexdigest()


def _translated(error: OSError, directory: Path, doing: str, otherwise: str) -> BelaypinError:
    kind = StoreFull if error.errno in _NO_ROOM else StoreUnavailable
    todo = "make room" if kind is StoreFull else "see to the directory and its permissions"
    said = error.strerror or str(error)
    return kind(f"{doing} in {directory} failed: {said}. {otherwise} First {todo}.")
