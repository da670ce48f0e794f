"""A new process on an old stream: take the lease, commit one page of new items, say so.

python -m benchmarks.first_commit URL INSERT ID_KIND PAGE
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

import belaypin
from benchmarks.source import PAGE_ITEMS, IdKind, Source

__all__ = ["seconds"]

_SAID = "committed"


def seconds(url: str, insert: str, kind: IdKind, page: int) -> float:
    """From the start of a process, interpreter and imports included, to its first durable commit."""
    command = [sys.executable, "-m", __name__, url, insert, kind, str(page)]
    began_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        took_s = time.perf_counter() - began_s
    if said != _SAID or process.returncode:
        raise RuntimeError(f"the new process ended with {process.returncode}, saying {said!r}")
    return took_s


def main(arguments: Sequence[str]) -> None:
    url, insert, kind, page = arguments
    source = Source(kind, (int(page) + 1) * PAGE_ITEMS, PAGE_ITEMS, keep=False)  # type: ignore[arg-type]
    with belaypin.open(url) as store, store.lease("benchmark", "posts") as lease:
        for window in lease.windows("posts", since="beginning", overlap="36500d"):
            for new in window.pages(lambda _: source.fetch(int(page))):
                with new.commit() as tx:
                    for post in tx.fresh(new.items, key="id"):
                        tx.execute(insert, (post["id"], 0, "", "", "", post["score"]))
                print(_SAID, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
