"""Run a command with servers that are gone afterwards: python -m tests.services -- COMMAND ...

PostgreSQL runs with fsync on, as in production. Its URL is in BELAYPIN_TEST_POSTGRES: an empty
database, beside which others may be created. With --redis there is BELAYPIN_TEST_REDIS too.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from typing import NoReturn

from tests.services import Server, ServiceMissing, Services


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    parser.add_argument("--redis", action="store_true", help="start a Redis server too")
    parser.add_argument("command", nargs="+", help="what to run, after --")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, _leave)
    with Services() as services:
        servers: dict[str, Server] = {"BELAYPIN_TEST_POSTGRES": services.postgres_in_production}
        if arguments.redis:
            servers["BELAYPIN_TEST_REDIS"] = services.redis
        for server in servers.values():
            print(f"{server.name}: {server.origin}", file=sys.stderr)
        urls = {variable: server.url for variable, server in servers.items()}
        return _run(arguments.command, {**os.environ, **urls})


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _run(command: list[str], environment: dict[str, str]) -> int:
    with subprocess.Popen(command, env=environment) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServiceMissing as error:
        sys.exit(str(error))
