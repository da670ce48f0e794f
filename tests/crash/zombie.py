"""A worker that stands still: python zombie.py URL ENTITY WHERE

It commits a page, then stops itself (SIGSTOP) in the next fetch, or inside the next transaction.
Woken, it goes on as if nothing had happened. It exits with 3 when it is fenced.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import belaypin

FENCED = 3
TTL_S = 0.3


def stand_still() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def main(url: str, entity: str, where: str) -> int:
    mark = "?" if url.startswith("sqlite:") else "%s"
    sql = f"INSERT INTO posts (entity, id, role, token) VALUES ({', '.join([mark] * 4)})"

    def fetch(cursor: Any) -> tuple[list[dict[str, int]], int | None]:
        page = cursor or 0
        if page == 1 and where == "fetch":
            stand_still()
        return [{"id": 2 * page}, {"id": 2 * page + 1}], page + 1 if page < 2 else None

    try:
        with (
            belaypin.open(url) as store,
            store.lease("crash", entity, ttl_s=TTL_S, wait_s=30) as lease,
        ):
            for window in lease.windows("posts", since="1d"):
                for number, page in enumerate(window.pages(fetch)):
                    with page.commit() as tx:
                        for item in tx.fresh(page.items, key="id"):
                            tx.execute(sql, (entity, item["id"], "main", lease.token))
                        if number == 1 and where == "transaction":
                            stand_still()
    except belaypin.Fenced:
        return FENCED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
