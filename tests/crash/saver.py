"""A process with a writer: python saver.py URL DURABILITY LEDGER END [COUNT]

Four threads save 0, 1, 2, ... at a key each, going on behind what is stored, and note each state in
LEDGER (one line, O_APPEND) once its save has returned. END says how it ends: "never", "sigterm"
(the writer drains on it), "exit" (the script ends after COUNT states, and closes nothing).
"""

from __future__ import annotations

import os
import sys
import threading

import belaypin

MAX_ITEMS = 64
THREADS = 4


def key_of(thread: int) -> tuple[str, str]:
    return ("crash", f"saver:{thread}")


def main(url: str, durability: str, ledger: str, end: str, count: str = "1000000000") -> None:
    store = belaypin.open(url)
    writer = store.writer(
        durability=durability,  # type: ignore[arg-type]
        max_items=MAX_ITEMS,
        max_delay_s=60 if end != "never" and durability == "async" else None,
        drain_on_sigterm=end == "sigterm",
    )
    noted = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def work(thread: int) -> None:
        found = store.load(key_of(thread))
        first = 0 if found is None else found.state + 1
        for number in range(first, first + int(count)):
            writer.save(key_of(thread), number)
            os.write(noted, f"{thread} {number}\n".encode())

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if end == "sigterm":
        os.write(1, b"ready\n")
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
