"""Who this process is, and whether another one on this machine is dead.

An owner name says where a lease is held: machine, boot and process-id namespace, process, and when
that process began. So a worker that comes back after a crash need not wait for the lease of its
dead predecessor to expire. When in doubt an owner counts as alive; and should this ever be wrong,
the fencing token still protects every write.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

__all__ = ["is_surely_dead", "owner_name"]


def owner_name(unique: str) -> str:
    """The name under which this process holds a lease; ``unique`` tells its leases apart."""
    pid = os.getpid()
    return "/".join((*_place(), f"pid-{pid}", f"began-{_began(pid)}", unique))


def is_surely_dead(owner: str) -> bool:
    """Whether ``owner`` was a process of this very machine and boot that no longer exists."""
    parts = owner.split("/")
    if len(parts) != 6 or tuple(parts[:3]) != _place():
        return False
    pid, began = parts[3].removeprefix("pid-"), parts[4].removeprefix("began-")
    if not pid.isdecimal():
        return False
    return _began(int(pid)) not in (began, "unknown") or not _exists(int(pid))


@cache
def _place() -> tuple[str, str, str]:
    host = platform.node().replace("/", "_") or "unknown-host"
    return host, _read("/proc/sys/kernel/random/boot_id", "unknown-boot"), _namespace()


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink()).replace("/", "_")
    except OSError:
        return "unknown-namespace"


def _began(pid: int) -> str:
    """When a process began, in clock ticks since boot; "gone" if it has ended (zombies too)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return "gone" if Path("/proc/self/stat").exists() else "unknown"
    except OSError:
        return "unknown"
    # The command name, in parentheses, may hold anything: count from behind it.
    state, *fields = stat.rpartition(b")")[2].split()
    return "gone" if state in (b"Z", b"X") else fields[18].decode()


def _exists(pid: int) -> bool:
    if os.name != "posix":
        return True  # elsewhere, os.kill() would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _read(path: str, otherwise: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return otherwise
