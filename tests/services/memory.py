"""Where tests keep what may be gone with the machine: in memory, if there is room."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

__all__ = ["scratch_root"]

_ROOM_BYTES = 3 << 30


def scratch_root() -> Path:
    """A file system in memory with some gigabytes free, else the folder for temporary files.

    Tests commit some hundred thousand times, and nobody pulls the plug: what waits for the disk does so
    for nothing. The durable server, on which crashes are tested, keeps to the disk.
    """
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_BYTES:
        return memory
    return Path(tempfile.gettempdir())
